"""Identifiers of queries as pynetdicom takes them, with values that the standard forbids, too."""

from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

__all__ = ["ask"]


def ask(level: str | None = "STUDY", **keys: Any) -> Dataset:
    """Build an identifier; ``None`` for no level."""
    identifier = Dataset()
    if level is not None:
        keys = {"QueryRetrieveLevel": level, **keys}
    for keyword, value in keys.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        identifier.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    return identifier
