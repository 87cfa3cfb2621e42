"""Arrivals of C-MOVEs: whose message identifier counts."""

import pytest

from isocenter.archive.arrivals import Arrivals
from isocenter.dimse.commands import Command, CommandField


@pytest.mark.parametrize(
    ("title", "is_ours"), [("ISOCENTER", True), ("isocenter ", True), (None, True), ("PACS", False)]
)
def test_arrival_counts_for_its_originator_only(title: str | None, is_ours: bool) -> None:
    arrivals = Arrivals()
    with arrivals.watch("ISOCENTER") as watch:
        command = Command(
            command_field=CommandField.C_STORE_RQ,
            message_id=1,
            move_originator_ae_title=title,
            move_originator_message_id=watch.message_id,
        )
        arrivals.note(command, "id")
        assert list(watch.public_ids) == (["id"] if is_ours else [])
