"""One target under atheris; the arguments after its name go to libFuzzer."""

import sys

import atheris

with atheris.instrument_imports(include=["isocenter", "zipfile"]):
    from fuzz.targets import TARGETS


def main(name: str, arguments: list[str]) -> None:
    """Fuzz a target until it fails or libFuzzer's arguments say stop."""
    atheris.Setup(["fuzz", *arguments], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
