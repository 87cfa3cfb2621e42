"""Who waits for which instances: those that a C-MOVE of ours makes somebody send to us.

References
----------
PS3.7 §9.1.1.1 (Move Originator of a C-STORE)
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from isocenter.dimse.commands import Command
from isocenter.errors import TooManyRequestsError

__all__ = ["Arrivals", "Watch"]

_LARGEST_MESSAGE_ID = 0xFFFF
_MOST_WATCHES = 10_000


class Watch:
    """The arrivals of one C-MOVE.

    Attributes
    ----------
    ae_title
        Who has asked, the move originator.
    message_id
        The identifier that the C-MOVE must have, unlike that of any other under way.
    public_ids
        What came, in the order of its arrival.
    on_arrival
        Called for each instance.
    """

    def __init__(self, ae_title: str, message_id: int) -> None:
        self.ae_title = ae_title
        self.message_id = message_id
        self.public_ids: dict[str, None] = {}
        self.on_arrival: Callable[[], None] = lambda: None

    def note(self, public_id: str) -> None:
        """Add an instance that was stored, or was there already."""
        self.public_ids[public_id] = None
        self.on_arrival()


class Arrivals:
    """Tells the C-MOVEs that are under way what they have brought. For the event loop's thread."""

    def __init__(self) -> None:
        self._watches: dict[int, Watch] = {}

    @contextmanager
    def watch(self, ae_title: str) -> Iterator[Watch]:
        """Wait for the instances of one C-MOVE while the context is open.

        Parameters
        ----------
        ae_title
            Title under which we ask.

        Raises
        ------
        TooManyRequestsError
            If too many are under way.
        """
        if len(self._watches) >= _MOST_WATCHES:
            raise TooManyRequestsError("too many retrieves are under way")
        message_id = secrets.randbelow(_LARGEST_MESSAGE_ID) + 1
        while message_id in self._watches:
            message_id = message_id % _LARGEST_MESSAGE_ID + 1
        watch = self._watches[message_id] = Watch(ae_title, message_id)
        try:
            yield watch
        finally:
            del self._watches[message_id]

    def note(self, command: Command, public_id: str) -> None:
        """Tell whoever waits for it that the instance of a C-STORE is stored.

        Other requestors use the same message identifiers, so the title must be ours, if given.
        """
        if command.move_originator_message_id is None:
            return
        watch = self._watches.get(command.move_originator_message_id)
        title = command.move_originator_ae_title
        if watch is not None and (not title or _fold(title) == _fold(watch.ae_title)):
            watch.note(public_id)


def _fold(ae_title: str) -> str:
    return ae_title.strip().upper()
