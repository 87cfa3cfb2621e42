"""What is kept beside a file until its rows are durable: all that the file itself does not tell.

References
----------
Decision 0010
"""

import msgspec

from isocenter.archive.received import Origin
from isocenter.index.records import Overwrite

__all__ = ["Memo"]


class Memo(msgspec.Struct, frozen=True, array_like=True):
    """How an instance was received, to write its rows again after a crash.

    Attributes
    ----------
    received_at
        Seconds since 1970, UTC.
    overwrite
        The rule in force.
    has_md5
        Whether MD5 sums were kept.
    """

    origin: Origin
    received_at: int
    overwrite: Overwrite
    has_md5: bool

    def encode(self) -> bytes:
        """Write it as bytes."""
        return _encode(self)

    @classmethod
    def decode(cls, encoded: bytes) -> "Memo":
        """Read what `encode` has written.

        Raises
        ------
        msgspec.DecodeError
            If it is something else.
        """
        return _decode(encoded)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Memo).decode
