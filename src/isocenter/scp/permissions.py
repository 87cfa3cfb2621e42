"""Who may do what over the DICOM protocol."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from isocenter.config.configuration import Configuration
from isocenter.config.remote_modalities import RemoteModality

__all__ = ["HostAddresses", "Operation", "Permissions", "build_permissions", "resolve_hosts"]

_log = logging.getLogger(__name__)

# After so much time a name is looked up again: one that is not known, and any other.
_ASK_AGAIN_S = 60.0
_LASTING_S = 600.0


class Operation(Enum):
    """What a remote modality may ask for; the value is the attribute that allows it."""

    ECHO = "allow_echo"
    STORE = "allow_store"
    FIND = "allow_find"
    FIND_WORKLIST = "allow_find_worklist"
    GET = "allow_get"
    MOVE = "allow_move"
    COMMIT = "allow_n_action"
    REPORT = "allow_event_report"


_ALWAYS_ALLOW = {
    Operation.ECHO: "DicomAlwaysAllowEcho",
    Operation.STORE: "DicomAlwaysAllowStore",
    Operation.FIND: "DicomAlwaysAllowFind",
    Operation.FIND_WORKLIST: "DicomAlwaysAllowFindWorklist",
    Operation.GET: "DicomAlwaysAllowGet",
    Operation.MOVE: "DicomAlwaysAllowMove",
}


@dataclass(frozen=True, slots=True)
class Permissions:
    """The rules of access.

    Attributes
    ----------
    open_operations
        What everybody may do.
    modalities
        The known remote modalities; may change at any time.
    has_strict_titles
        Tell titles apart by case.
    addresses
        Those of the hosts; ``None`` if hosts are not checked.

    References
    ----------
    Orthanc: who may do what (behaviour manual §25.1, quirk 26)
    """

    open_operations: Collection[Operation]
    modalities: Collection[RemoteModality]
    has_strict_titles: bool = False
    addresses: "HostAddresses | None" = None

    def may_associate(self, calling_ae_title: str, address: str) -> bool:
        """Tell whether a caller may open an association at all."""
        return bool(self.open_operations) or bool(self.find_callers(calling_ae_title, address))

    def may(self, operation: Operation, calling_ae_title: str, address: str) -> bool:
        """Tell whether a caller may use a service."""
        if operation in self.open_operations:
            return True
        found = self.find_callers(calling_ae_title, address)
        return any(getattr(modality, operation.value) for modality in found)

    def are_same_title(self, one: str, other: str) -> bool:
        """Compare two AE titles; blanks at both ends do not count (PS3.5 §6.2)."""
        one, other = one.strip(), other.strip()
        return one == other or (not self.has_strict_titles and one.upper() == other.upper())

    def find_callers(self, calling_ae_title: str, address: str) -> list[RemoteModality]:
        """List the modalities that the caller is, by its title and, if asked, its address."""
        return [
            modality
            for modality in self.modalities
            if self.are_same_title(modality.ae_title, calling_ae_title)
            and (self.addresses is None or address in self.addresses.get(modality.host))
        ]


def build_permissions(
    configuration: Configuration, modalities: Collection[RemoteModality]
) -> Permissions:
    """Read the rules from the configuration. Resolves host names, so it may block.

    Parameters
    ----------
    modalities
        The known ones; may change at any time.
    """
    has_host_check = configuration.boolean("DicomCheckModalityHost")
    return Permissions(
        open_operations=frozenset(
            operation for operation, name in _ALWAYS_ALLOW.items() if configuration.boolean(name)
        ),
        modalities=modalities,
        has_strict_titles=configuration.boolean("StrictAetComparison"),
        addresses=HostAddresses(m.host for m in list(modalities)) if has_host_check else None,
    )


class HostAddresses:
    """The addresses of hosts, by name or address.

    Names are looked up in a thread: when they are new, which have no address until that has ended,
    and again when what is known of them has aged, which counts until then. For the event loop's
    thread, but for the first hosts, whose names are looked up at once: that blocks.

    Parameters
    ----------
    now_s
        A clock that never goes back.
    """

    def __init__(
        self, hosts: Iterable[str], *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._now_s = now_s
        self._asked = dict.fromkeys(hosts, now_s())
        self._known = resolve_hosts(self._asked)

    def get(self, host: str) -> Collection[str]:
        """Give the addresses of a host as far as they are known."""
        with suppress(ValueError):
            return (_normalize(host),)
        known = self._known.get(host, frozenset())
        age_s = _LASTING_S if known else _ASK_AGAIN_S
        if self._asked.get(host, -_LASTING_S) + age_s <= self._now_s():
            self._asked[host] = self._now_s()
            asking = asyncio.get_running_loop().run_in_executor(None, resolve_hosts, [host])
            asking.add_done_callback(self._take)
        return known

    def _take(self, asking: "asyncio.Future[dict[str, frozenset[str]]]") -> None:
        """Note what was found; a name that has no address for the moment keeps those it had."""
        if not asking.cancelled() and asking.exception() is None:
            self._known.update(asking.result())


def resolve_hosts(hosts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Find the addresses of some hosts; a host that is not known is left out. Blocks."""
    resolved = {}
    for host in set(hosts):
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, ValueError):
            # A host that can be no name is a ValueError, or its subclass UnicodeError.
            _log.warning("a modality's host is not known; it will be refused", extra={"host": host})
            continue
        resolved[host] = frozenset(_normalize(str(entry[4][0])) for entry in entries)
    return resolved


def _normalize(address: str) -> str:
    return str(ipaddress.ip_address(address.partition("%")[0]))
