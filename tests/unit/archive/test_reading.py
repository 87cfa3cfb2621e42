"""The dictionary that the configuration makes."""

from pathlib import Path

import pytest

from isocenter.archive.reading import build_dictionary
from isocenter.config.configuration import Configuration
from isocenter.errors import ConfigurationError


def configure(tmp_path: Path, text: str) -> Configuration:
    (tmp_path / "own.dic").write_text(text)
    return Configuration.defaults().with_values(
        {
            "ExternalDictionaries": [str(tmp_path / "own.dic")],
            "Dictionary": {"0029,1002": ["US", "FromOption"]},
        }
    )


def test_external_dictionary_names_tags_and_the_option_wins(tmp_path: Path) -> None:
    text = "(0010,0010)\tPN\tComponentName\t1\tX\n(0029,1002)\tLO\tFromFile\t1\tX\n"
    dictionary = build_dictionary(configure(tmp_path, text))
    assert dictionary.get_name(0x00100010) == "ComponentName"
    assert dictionary.get_name(0x00291002) == "FromOption"
    assert dictionary.get_name(0x00100020) == "PatientID"


def test_wrong_external_dictionary_stops_the_start(tmp_path: Path) -> None:
    message = r'option "ExternalDictionaries": .*own\.dic, line 2: .*is no tag'
    with pytest.raises(ConfigurationError, match=message):
        build_dictionary(configure(tmp_path, "\n10,10\tPN\tName\t1\tX\n"))
