"""Whom the services send to."""

from typing import Any

import pytest

from isocenter.archive.modalities import Modalities
from isocenter.config.remote_modalities import RemoteModality
from isocenter.errors import UnknownItemError
from isocenter.scp.move import Destinations
from isocenter.scp.permissions import HostAddresses, Permissions

NONE: Any = None
FIRST = RemoteModality("CT1", "10.0.0.1", 104)
SECOND = RemoteModality("CT1", "10.0.0.2", 104)
OTHER = RemoteModality("MR1", "10.0.0.2", 104)


def build(*, has_host_check: bool = False) -> Destinations:
    known = {"other": OTHER, "first": FIRST, "second": SECOND}
    modalities = Modalities(NONE, known, is_kept=False, is_shared=False)
    addresses = HostAddresses(["10.0.0.1", "10.0.0.2"]) if has_host_check else None
    return Destinations(modalities, NONE, Permissions((), modalities.values(), addresses=addresses))


@pytest.mark.parametrize("has_host_check", [False, True])
@pytest.mark.parametrize(
    ("address", "expected"), [("10.0.0.1", ("first", FIRST)), ("10.0.0.2", ("second", SECOND))]
)
def test_caller_is_found_by_title_and_address(
    address: str, expected: object, has_host_check: bool
) -> None:
    assert build(has_host_check=has_host_check).get_caller("ct1 ", address) == expected


def test_caller_at_unknown_address_is_first_with_its_title_unless_checked() -> None:
    assert build().get_caller("CT1", "10.0.0.3") == ("first", FIRST)
    with pytest.raises(UnknownItemError):
        build(has_host_check=True).get_caller("CT1", "10.0.0.3")


def test_caller_of_an_unknown_title_is_unknown() -> None:
    with pytest.raises(UnknownItemError):
        build().get_caller("NOBODY", "10.0.0.1")
