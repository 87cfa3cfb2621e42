"""What a client may change while the server runs; the next start takes the configuration again."""

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(slots=True)
class Settings:
    """Settings that every part reads anew whenever it needs them. Written on the event loop only.

    Attributes
    ----------
    default_encoding
        Character set of files that name none, one of `DEFAULT_ENCODINGS`.
    generation
        Grows with each change, so that whoever keeps answers knows which are older.

    References
    ----------
    Orthanc REST: PUT /tools/default-encoding (behaviour manual §15.5)
    """

    default_encoding: str = "Latin1"
    generation: int = 0

    def change_default_encoding(self, encoding: str) -> None:
        """Read files that name no character set in another one from now on."""
        self.default_encoding = encoding
        self.generation += 1
