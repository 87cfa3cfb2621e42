"""The targets of the fuzzer hold for their seeds, for damaged seeds, and for what once failed."""

import base64
import random

import pytest
from fuzz.targets import TARGETS

# Inputs that the fuzzer found, each of them once a fault.
FOUND = [
    # An entry of a ZIP archive without a name.
    (
        "zip",
        "UEsBAhQAFAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFBLBQYAAAAAAQABAC4AAAAAAAAA"
        "AAA=",
    ),
    # A UID of padding only, which was neither there nor absent.
    (
        "command",
        "AAAAAAQAAAAmAAAAAAAAAQIAAAAhAAAAEAECAAAAAQAAAAAIAgAAAAEAAAAAEAYAAAAAAAAAAAA=",
    ),
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
def test_input_that_was_a_fault_is_none(name: str, found: str) -> None:
    TARGETS[name].run(base64.b64decode(found))
