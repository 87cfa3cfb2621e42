import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.archive.memo import Memo
from isocenter.archive.received import Origin, OriginKind
from isocenter.index.records import Overwrite

texts = st.none() | st.text(max_size=64)
origins = st.builds(Origin, st.sampled_from(OriginKind), texts, texts, texts, texts)


@given(st.builds(Memo, origins, st.integers(0, 2**40), st.sampled_from(Overwrite), st.booleans()))
def test_memo_survives_round_trip(memo: Memo) -> None:
    assert Memo.decode(memo.encode()) == memo


@given(st.binary(max_size=40))
def test_random_bytes_raise_only_the_decoders_error(encoded: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Memo.decode(b"\xc1" + encoded)
