"""Who may do what (behaviour manual §25.1)."""

from typing import Any

import pytest
from tests.support.scripted_peer import wait_until

from isocenter.config.configuration import Configuration
from isocenter.config.remote_modalities import RemoteModality, parse_remote_modality
from isocenter.scp.permissions import (
    HostAddresses,
    Operation,
    Permissions,
    build_permissions,
    resolve_hosts,
)

CT = RemoteModality("CT1", "127.0.0.1", 104)
FORM = {"AET": "CT1", "Host": "127.0.0.1", "Port": 104}
NAMES = {
    Operation.ECHO: "AllowEcho",
    Operation.STORE: "AllowStore",
    Operation.FIND: "AllowFind",
    Operation.FIND_WORKLIST: "AllowFindWorklist",
    Operation.GET: "AllowGet",
    Operation.MOVE: "AllowMove",
    Operation.COMMIT: "AllowNAction",
    Operation.REPORT: "AllowEventReport",
}


def build(*modalities: RemoteModality, **options: Any) -> Permissions:
    """Build rules under which nothing is open to everybody."""
    return Permissions(**{"open_operations": (), "modalities": modalities} | options)


def test_everybody_may_do_what_is_open() -> None:
    permissions = build(open_operations={Operation.ECHO})
    assert permissions.may_associate("STRANGER", "10.0.0.1")
    assert permissions.may(Operation.ECHO, "STRANGER", "10.0.0.1")
    assert not permissions.may(Operation.STORE, "STRANGER", "10.0.0.1")


def test_stranger_may_not_associate_if_nothing_is_open() -> None:
    permissions = build(CT)
    assert not permissions.may_associate("STRANGER", "127.0.0.1")
    assert permissions.may_associate("CT1", "127.0.0.1")


@pytest.mark.parametrize("operation", Operation)
def test_known_modality_may_do_what_it_is_allowed(operation: Operation) -> None:
    allowed = parse_remote_modality({**FORM, NAMES[operation]: True})
    refused = parse_remote_modality({**FORM, NAMES[operation]: False})
    assert build(allowed).may(operation, "CT1", "10.0.0.1")
    assert not build(refused).may(operation, "CT1", "10.0.0.1")
    # One of several modalities with the title is enough.
    assert build(refused, allowed).may(operation, "CT1", "10.0.0.1")


def test_modality_may_associate_even_if_it_may_do_nothing() -> None:
    refused = RemoteModality("CT1", "host", 104, allow_echo=False, allow_store=False)
    assert build(refused).may_associate("CT1", "10.0.0.1")


@pytest.mark.parametrize(
    ("one", "other", "is_strict", "expected"),
    [
        ("CT1", "CT1", True, True),
        ("ct1", "CT1", False, True),
        ("ct1", "CT1", True, False),
        (" CT1 ", "CT1", True, True),
        ("CT1", "CT2", False, False),
        ("C T", "CT", False, False),
        ("", "CT1", False, False),
    ],
)
def test_titles_are_compared_as_configured(
    one: str, other: str, is_strict: bool, expected: bool
) -> None:
    permissions = build(has_strict_titles=is_strict)
    assert permissions.are_same_title(one, other) == expected
    assert permissions.are_same_title(other, one) == expected


def test_address_counts_only_if_hosts_are_checked() -> None:
    assert build(CT).may(Operation.STORE, "CT1", "10.0.0.9")
    checked = build(CT, addresses=HostAddresses(["127.0.0.1"]))
    assert checked.may(Operation.STORE, "CT1", "127.0.0.1")
    assert not checked.may(Operation.STORE, "CT1", "10.0.0.9")
    assert not checked.may_associate("CT1", "10.0.0.9")


def test_two_modalities_of_one_title_do_not_open_the_host_check() -> None:
    """Quirk 26 of the reference is not copied."""
    other = RemoteModality("CT1", "10.0.0.2", 104, allow_store=False)
    addresses = HostAddresses(["127.0.0.1", "10.0.0.2"])
    permissions = build(CT, other, addresses=addresses)
    assert permissions.may(Operation.STORE, "CT1", "127.0.0.1")
    assert not permissions.may(Operation.STORE, "CT1", "10.0.0.2")
    assert not permissions.may(Operation.STORE, "CT1", "10.0.0.3")
    assert not permissions.may_associate("CT1", "10.0.0.3")


async def test_host_that_is_unknown_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    assert resolve_hosts(["no-such-host.invalid", "a" * 64]) == {}
    assert caplog.text.count("not known") == 2
    unknown = RemoteModality("CT1", "no-such-host.invalid", 104)
    hosts = HostAddresses(["no-such-host.invalid"])
    assert not build(unknown, addresses=hosts).may_associate("CT1", "127.0.0.1")


class Names:
    """Names that change, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self.asked = 0
        self.seconds = 0.0
        monkeypatch.setattr("isocenter.scp.permissions.socket.getaddrinfo", self.look_up)

    def look_up(self, *_: object, **__: object) -> list[Any]:
        self.asked += 1
        if not self.addresses:
            raise OSError
        return [(0, 0, 0, "", (address, 0)) for address in self.addresses]


async def test_host_that_was_unknown_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    hosts = HostAddresses(["ct"], now_s=lambda: names.seconds)
    names.addresses = ["10.0.0.1"]
    names.seconds = 59
    assert (set(hosts.get("ct")), names.asked) == (set(), 1)
    names.seconds = 60
    await wait_until(lambda: "10.0.0.1" in hosts.get("ct"))
    assert names.asked == 2


async def test_addresses_age_and_count_until_new_ones_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(monkeypatch)
    names.addresses = ["10.0.0.1"]
    hosts = HostAddresses(["ct"], now_s=lambda: names.seconds)
    names.addresses = ["10.0.0.2"]
    names.seconds = 599
    assert (set(hosts.get("ct")), names.asked) == ({"10.0.0.1"}, 1)
    names.seconds = 600
    assert set(hosts.get("ct")) == {"10.0.0.1"}
    await wait_until(lambda: set(hosts.get("ct")) == {"10.0.0.2"})
    names.addresses = []
    names.seconds = 1200
    hosts.get("ct")
    await wait_until(lambda: names.asked == 3)
    assert set(hosts.get("ct")) == {"10.0.0.2"}


async def test_host_that_is_added_later_is_looked_up() -> None:
    added = [RemoteModality("CT1", "127.0.0.1", 104)]
    permissions = Permissions((), added, addresses=HostAddresses([]))
    assert permissions.may_associate("CT1", "127.0.0.1")
    added.append(RemoteModality("CT2", "localhost", 104))
    await wait_until(lambda: permissions.may_associate("CT2", "127.0.0.1"))
    assert not permissions.may_associate("CT2", "10.0.0.1")


def test_host_names_are_resolved_once_each() -> None:
    resolved = resolve_hosts(["127.0.0.1", "::1", "127.0.0.1"])
    assert resolved == {"127.0.0.1": frozenset({"127.0.0.1"}), "::1": frozenset({"::1"})}


def test_rules_are_read_from_the_configuration() -> None:
    configuration = Configuration.defaults().with_values(
        {
            "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowStore": True,
            "DicomCheckModalityHost": True,
            "StrictAetComparison": True,
            "DicomModalities": {"ct": ["CT1", "127.0.0.1", 104]},
        }
    )
    known = configuration.remote_modalities.values()
    permissions = build_permissions(configuration, known)
    assert permissions.open_operations == {Operation.STORE}
    assert permissions.has_strict_titles
    assert permissions.addresses is not None
    assert set(permissions.addresses.get("127.0.0.1")) == {"127.0.0.1"}
    assert [modality.ae_title for modality in permissions.modalities] == ["CT1"]


def test_echo_and_store_are_open_by_default_and_hosts_are_not_checked() -> None:
    permissions = build_permissions(Configuration.defaults(), ())
    assert permissions.open_operations == {Operation.ECHO, Operation.STORE}
    assert permissions.addresses is None
    assert not permissions.has_strict_titles
