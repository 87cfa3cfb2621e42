"""Targets for what administrators write beside the configuration file: peers, dictionaries."""

import json

from isocenter.config.peers import format_peer, parse_peer
from isocenter.dicom.external_dictionaries import parse_dictionary
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import ConfigurationError

__all__ = ["build_dictionaries", "build_peers", "run_dictionary", "run_peer"]


def run_peer(data: bytes) -> None:
    """What is accepted can be kept in the database and read again."""
    try:
        peer = parse_peer(json.loads(data))
    except (ConfigurationError, ValueError, RecursionError):
        return
    assert parse_peer(json.loads(json.dumps(format_peer(peer)))) == peer


def build_peers() -> list[bytes]:
    """Give both forms."""
    headers = {"Url": "https://u:p@h:1/a", "HttpHeaders": {"A": "b"}, "Timeout": 3, "Own": 5}
    return [json.dumps(value).encode() for value in (["http://h/", "u", "p"], headers)]


def run_dictionary(data: bytes) -> None:
    """What is accepted makes a dictionary that can be asked."""
    try:
        entries = list(parse_dictionary(data))
    except ConfigurationError:
        return
    TagDictionary(entries).get_name(0x00291001, "C")


def build_dictionaries() -> list[bytes]:
    """Give each form of a line."""
    return [
        b'# c\n(0010,0010)\tPN\tA\t1\tX\n(0029-o-0031,"C D",01)\tLO\tB\t1-n\n',
        b"(0020-u-0022,1010-1012)\txs\tC\t2-2n\tX\r\n",
    ]
