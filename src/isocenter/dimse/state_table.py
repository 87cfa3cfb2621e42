"""The upper layer state machine, as the table of the standard.

The tables hold no behavior: ``association`` executes the actions. An absent entry is a blank cell
of the standard: the event cannot happen in that state unless a program is wrong.

References
----------
PS3.8 §9.2, Tables 9-1 to 9-10
"""

from enum import Enum, IntEnum
from typing import NamedTuple

__all__ = ["TRANSITIONS", "Action", "Event", "State", "Transition"]


class State(IntEnum):
    """States Sta1 to Sta13 (PS3.8 Tables 9-1 to 9-5)."""

    IDLE = 1
    AWAITING_REQUEST_PDU = 2
    AWAITING_LOCAL_ASSOCIATE_RESPONSE = 3
    AWAITING_CONNECTION = 4
    AWAITING_ASSOCIATE_REPLY_PDU = 5
    ESTABLISHED = 6
    AWAITING_RELEASE_REPLY_PDU = 7
    AWAITING_LOCAL_RELEASE_RESPONSE = 8
    COLLISION_REQUESTOR_AWAITING_LOCAL_RESPONSE = 9
    COLLISION_ACCEPTOR_AWAITING_REPLY_PDU = 10
    COLLISION_REQUESTOR_AWAITING_REPLY_PDU = 11
    COLLISION_ACCEPTOR_AWAITING_LOCAL_RESPONSE = 12
    AWAITING_CONNECTION_CLOSE = 13


class Event(IntEnum):
    """Events Evt1 to Evt19 (PS3.8 Table 9-10)."""

    ASSOCIATE_REQUEST = 1
    CONNECTION_CONFIRMED = 2
    ASSOCIATE_AC_PDU = 3
    ASSOCIATE_RJ_PDU = 4
    CONNECTION_INDICATED = 5
    ASSOCIATE_RQ_PDU = 6
    ASSOCIATE_ACCEPT = 7
    ASSOCIATE_REJECT = 8
    P_DATA_REQUEST = 9
    P_DATA_PDU = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ_PDU = 12
    RELEASE_RP_PDU = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT_PDU = 16
    CONNECTION_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


class Action(Enum):
    """Actions, by the names of the standard (PS3.8 Tables 9-6 to 9-9)."""

    AE_1 = "AE-1"
    AE_2 = "AE-2"
    AE_3 = "AE-3"
    AE_4 = "AE-4"
    AE_5 = "AE-5"
    AE_6 = "AE-6"
    AE_7 = "AE-7"
    AE_8 = "AE-8"
    DT_1 = "DT-1"
    DT_2 = "DT-2"
    AR_1 = "AR-1"
    AR_2 = "AR-2"
    AR_3 = "AR-3"
    AR_4 = "AR-4"
    AR_5 = "AR-5"
    AR_6 = "AR-6"
    AR_7 = "AR-7"
    AR_8 = "AR-8"
    AR_9 = "AR-9"
    AR_10 = "AR-10"
    AA_1 = "AA-1"
    AA_2 = "AA-2"
    AA_3 = "AA-3"
    AA_4 = "AA-4"
    AA_5 = "AA-5"
    AA_6 = "AA-6"
    AA_7 = "AA-7"
    AA_8 = "AA-8"


class Transition(NamedTuple):
    """What to do and where it leads.

    ``other_state`` is the second of the two states that AE-6 and AR-8 choose from; for all other
    actions it equals ``next_state``.
    """

    action: Action
    next_state: State
    other_state: State


# One row for each event: "state: action next-state[/other-state]", in the shape of Table 9-10.
_ROWS = {
    1: "1:AE-1 4",
    2: "4:AE-2 5",
    3: "2:AA-1 13|3:AA-8 13|5:AE-3 6|6-12:AA-8 13|13:AA-6 13",
    4: "2:AA-1 13|3:AA-8 13|5:AE-4 1|6-12:AA-8 13|13:AA-6 13",
    5: "1:AE-5 2",
    6: "2:AE-6 3/13|3:AA-8 13|5:AA-8 13|6-12:AA-8 13|13:AA-7 13",
    7: "3:AE-7 6",
    8: "3:AE-8 13",
    9: "6:DT-1 6|8:AR-7 8",
    10: "2:AA-1 13|3:AA-8 13|5:AA-8 13|6:DT-2 6|7:AR-6 7|8-12:AA-8 13|13:AA-6 13",
    11: "6:AR-1 7",
    12: "2:AA-1 13|3:AA-8 13|5:AA-8 13|6:AR-2 8|7:AR-8 9/10|8-12:AA-8 13|13:AA-6 13",
    13: (
        "2:AA-1 13|3:AA-8 13|5:AA-8 13|6:AA-8 13|7:AR-3 1|8:AA-8 13|9:AA-8 13|10:AR-10 12"
        "|11:AR-3 1|12:AA-8 13|13:AA-6 13"
    ),
    14: "8:AR-4 13|9:AR-9 11|12:AR-4 13",
    15: "3:AA-1 13|4:AA-2 1|5-12:AA-1 13",
    16: "2:AA-2 1|3:AA-3 1|5-12:AA-3 1|13:AA-2 1",
    17: "2:AA-5 1|3-12:AA-4 1|13:AR-5 1",
    18: "2:AA-2 1|13:AA-2 1",
    19: "2:AA-1 13|3:AA-8 13|5-12:AA-8 13|13:AA-7 13",
}


def _build_transitions() -> dict[tuple[State, Event], Transition]:
    transitions = {}
    for number, row in _ROWS.items():
        for cell in row.split("|"):
            states, _, rest = cell.partition(":")
            action, _, targets = rest.partition(" ")
            first, _, last = states.partition("-")
            next_state, _, other = targets.partition("/")
            transition = Transition(
                Action(action), State(int(next_state)), State(int(other or next_state))
            )
            for state in range(int(first), int(last or first) + 1):
                transitions[State(state), Event(number)] = transition
    return transitions


TRANSITIONS = _build_transitions()
"""Table 9-10: (state, event) to action and next state."""
