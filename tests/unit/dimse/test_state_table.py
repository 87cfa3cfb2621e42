import pytest

from isocenter.dimse.state_table import TRANSITIONS, Event, State

# PS3.8 Table 9-10, row by row: for each event the cells of Sta1 to Sta13; "-" is a blank cell.
# "3/13" and "9/10" are the choices of AE-6 and AR-8.
TABLE_9_10 = """
1  AE-1:4 - - - - - - - - - - - -
2  - - - AE-2:5 - - - - - - - - -
3  - AA-1:13 AA-8:13 - AE-3:6 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-6:13
4  - AA-1:13 AA-8:13 - AE-4:1 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-6:13
5  AE-5:2 - - - - - - - - - - - -
6  - AE-6:3/13 AA-8:13 - AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-7:13
7  - - AE-7:6 - - - - - - - - - -
8  - - AE-8:13 - - - - - - - - - -
9  - - - - - DT-1:6 - AR-7:8 - - - - -
10 - AA-1:13 AA-8:13 - AA-8:13 DT-2:6 AR-6:7 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-6:13
11 - - - - - AR-1:7 - - - - - - -
12 - AA-1:13 AA-8:13 - AA-8:13 AR-2:8 AR-8:9/10 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-6:13
13 - AA-1:13 AA-8:13 - AA-8:13 AA-8:13 AR-3:1 AA-8:13 AA-8:13 AR-10:12 AR-3:1 AA-8:13 AA-6:13
14 - - - - - - - AR-4:13 AR-9:11 - - AR-4:13 -
15 - - AA-1:13 AA-2:1 AA-1:13 AA-1:13 AA-1:13 AA-1:13 AA-1:13 AA-1:13 AA-1:13 AA-1:13 -
16 - AA-2:1 AA-3:1 - AA-3:1 AA-3:1 AA-3:1 AA-3:1 AA-3:1 AA-3:1 AA-3:1 AA-3:1 AA-2:1
17 - AA-5:1 AA-4:1 AA-4:1 AA-4:1 AA-4:1 AA-4:1 AA-4:1 AA-4:1 AA-4:1 AA-4:1 AA-4:1 AR-5:1
18 - AA-2:1 - - - - - - - - - - AA-2:1
19 - AA-1:13 AA-8:13 - AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-7:13
"""

CELLS = [
    (State(state), Event(int(line.split()[0])), cell)
    for line in TABLE_9_10.strip().splitlines()
    for state, cell in enumerate(line.split()[1:], start=1)
]


def test_table_has_all_states_and_events() -> None:
    assert len(CELLS) == len(State) * len(Event) == 13 * 19


@pytest.mark.parametrize(("state", "event", "cell"), CELLS)
def test_transition_is_cell_of_the_standard(state: State, event: Event, cell: str) -> None:
    transition = TRANSITIONS.get((state, event))
    if cell == "-":
        assert transition is None
        return
    action, _, targets = cell.partition(":")
    next_state, _, other_state = targets.partition("/")
    assert transition is not None
    assert transition.action.value == action
    assert transition.next_state == int(next_state)
    assert transition.other_state == int(other_state or next_state)
