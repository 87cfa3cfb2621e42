from typing import Any

import pytest

from isocenter.config.routing_rules import RoutingRule, format_routing_rule, parse_routing_rule
from isocenter.errors import ConfigurationError

LEAST: dict[str, Any] = {"Destination": {"Modality": "pacs"}}
FULL: dict[str, Any] = LEAST | {
    "Enabled": False,
    "Trigger": "NewInstance",
    "Modality": ["CT", "M?"],
    "OriginAet": ["SCANNER*"],
    "Tags": {"StudyDescription": "*HEAD*"},
    "Delay": 60,
    "QuietHours": [["07:00", "19:30"], ["23:59", "00:00"]],
    "Retries": 3,
    "Priority": -1,
    "Permissive": True,
}


def test_parse_routing_rule_least_uses_defaults() -> None:
    assert parse_routing_rule(LEAST) == RoutingRule("pacs")


def test_parse_routing_rule_full_reads_every_entry() -> None:
    assert parse_routing_rule(FULL) == RoutingRule(
        destination="pacs",
        trigger="NewInstance",
        modalities=("CT", "M?"),
        origin_aets=("SCANNER*",),
        tags={"StudyDescription": "*HEAD*"},
        delay_s=60,
        quiet_hours=((420, 1170), (1439, 0)),
        retries=3,
        priority=-1,
        is_permissive=True,
        is_enabled=False,
    )


@pytest.mark.parametrize("value", [LEAST, FULL, {"Destination": {"Peer": "far"}}])
def test_format_routing_rule_is_read_back(value: Any) -> None:
    rule = parse_routing_rule(value)

    assert parse_routing_rule(format_routing_rule(rule)) == rule


@pytest.mark.parametrize(
    "value",
    [
        5,
        [],
        {},
        {"Destination": "pacs"},
        {"Destination": {}},
        {"Destination": {"Modality": ""}},
        {"Destination": {"Peer": 5}},
        {"Destination": {"Host": "x"}},
        {"Destination": {"Modality": "a", "Peer": "b"}},
        LEAST | {"Nonsense": 1},
        LEAST | {"Trigger": "Sometimes"},
        LEAST | {"Modality": {}},
        LEAST | {"Modality": [""]},
        LEAST | {"Modality": ["CT"] * 101},
        LEAST | {"Tags": []},
        LEAST | {"Tags": {"StudyDescription": 5}},
        LEAST | {"Delay": -1},
        LEAST | {"Retries": "x"},
        LEAST | {"QuietHours": "07:00"},
        LEAST | {"QuietHours": [["07:00"]]},
        LEAST | {"QuietHours": [["7:00", "19:00"]]},
        LEAST | {"QuietHours": [["24:00", "19:00"]]},
        LEAST | {"QuietHours": [["07:00", "07:00"]]},
        LEAST | {"QuietHours": [[7, 8]]},
    ],
)
def test_parse_routing_rule_wrong_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError):
        parse_routing_rule(value)
