"""``make fuzz``: every target for some time, two side by side; what fails is kept."""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.targets import TARGETS

_WORK = Path("fuzz/scratch")
_AT_ONCE = 2
_LONGEST_INPUT = 20_000
_MEMORY_MB = 2048
_SLOWEST_S = 20
_SHOWN_LINES = 40


def _run(name: str, seconds: int) -> tuple[str, bool, str]:
    """Fuzz a target; gives its name, whether it held, and the end of what libFuzzer said."""
    corpus, seeds, faults = (_WORK / name / part for part in ("corpus", "seeds", "faults"))
    for folder in (corpus, seeds, faults):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].build_seeds()):
        (seeds / str(number)).write_bytes(seed)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.single", name),
            *(str(corpus), str(seeds), f"-artifact_prefix={faults}/"),
            *(f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT}"),
            *(f"-rss_limit_mb={_MEMORY_MB}", f"-timeout={_SLOWEST_S}", "-print_final_stats=1"),
        ],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line[:1] != "#"]
    if done.returncode == 0:
        lines = [line for line in lines if "number_of_executed_units" in line]
    return name, done.returncode == 0, "\n".join(lines[-_SHOWN_LINES:])


def main() -> int:
    """Fuzz the targets that the arguments name, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    has_failed = False
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for name, has_held, told in threads.map(lambda n: _run(n, options.seconds), names):
            print(f"{name}: {'held' if has_held else 'FAILED'}\n{told}", flush=True)
            has_failed |= not has_held
    if has_failed:
        print(f"Inputs that failed lie in {_WORK}/*/faults. Each becomes a test.")
    return 1 if has_failed else 0


if __name__ == "__main__":
    sys.exit(main())
