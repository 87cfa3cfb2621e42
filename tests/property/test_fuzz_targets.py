"""The targets of the fuzzer hold for their seeds, for damaged seeds, and for what once failed."""

import random

import pytest
from fuzz.targets import TARGETS

# Inputs that the fuzzer found, each of them once a fault.
_NAMELESS = b"PK\1\2\x14\0\x14" + bytes(39) + b"PK\5\6" + bytes(4) + b"\1\0\1\0\x2e" + bytes(9)
_PADDED = bytes.fromhex(
    "00000000 04000000 26000000 00000001 02000000 21000000 10010200"
    "00000100 00000008 02000000 01000000 00100600 00000000 00000000"
)
# Inputs that the fuzzer found, each of them once a fault.
FOUND = [
    pytest.param("zip", _NAMELESS, id="entry of a ZIP archive without a name"),
    pytest.param("command", _PADDED, id="UID of padding only, neither there nor absent"),
]


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds_for_seeds_and_damaged_seeds(name: str) -> None:
    target = TARGETS[name]
    generator = random.Random(name)
    for seed in target.build_seeds():
        target.run(seed)
        for _ in range(30):
            damaged = bytearray(seed)
            for _ in range(generator.randint(1, 4)):
                if damaged:
                    damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            target.run(bytes(damaged[: generator.randint(0, len(damaged))]))
    target.run(b"")


@pytest.mark.parametrize(("name", "found"), FOUND)
def test_input_that_was_a_fault_is_none(name: str, found: bytes) -> None:
    TARGETS[name].run(found)
