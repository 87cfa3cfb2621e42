"""The four levels of the model of the real world.

References
----------
PS3.4 §C.6.1.1 (patient root), Orthanc REST: resource model (behaviour manual §1.1)
"""

from enum import IntEnum

__all__ = ["Level"]


class Level(IntEnum):
    """A level of the hierarchy; a smaller number is nearer to the root."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    INSTANCE = 3

    @property
    def title(self) -> str:
        """The type name in answers, for example ``Patient``."""
        return _TITLES[self]

    @property
    def plural(self) -> str:
        """The segment in addresses, for example ``patients``."""
        return _PLURALS[self]

    @property
    def plural_title(self) -> str:
        """The key of the children in answers, for example ``Studies``."""
        return _PLURALS[self].title()

    @property
    def parent(self) -> "Level | None":
        """The level above, ``None`` for a patient."""
        return Level(self - 1) if self > Level.PATIENT else None

    @property
    def child(self) -> "Level | None":
        """The level below, ``None`` for an instance."""
        return Level(self + 1) if self < Level.INSTANCE else None

    @classmethod
    def lookup_plural(cls, segment: str) -> "Level | None":
        """Find the level of an address segment such as ``studies``, or ``None``."""
        return _BY_PLURAL.get(segment)

    @classmethod
    def lookup_title(cls, title: str) -> "Level | None":
        """Find the level of a type name such as ``Study``, whatever its case, or ``None``."""
        return _BY_TITLE.get(title.lower())

    @classmethod
    def lookup_name(cls, name: str) -> "Level | None":
        """Find the level of a name as clients give it, or ``None``.

        Parameters
        ----------
        name
            ``Study``, ``studies``, and for instances also ``image`` and ``images``, in any case.

        References
        ----------
        Orthanc REST: POST /tools/find (behaviour manual §15.1)
        """
        lower = name.lower()
        return _BY_TITLE.get(lower, _BY_PLURAL.get(lower, _OTHER_NAMES.get(lower)))


_TITLES = ("Patient", "Study", "Series", "Instance")
_PLURALS = ("patients", "studies", "series", "instances")
_BY_PLURAL = {plural: Level(number) for number, plural in enumerate(_PLURALS)}
_BY_TITLE = {title.lower(): Level(number) for number, title in enumerate(_TITLES)}
_OTHER_NAMES = {"image": Level.INSTANCE, "images": Level.INSTANCE}
