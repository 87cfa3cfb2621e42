"""Requests at full speed with ``wrk``."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.failures import BenchmarkError, find_program
from benchmarks.servers import HOST
from benchmarks.timing import Sample, timed

_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_FAULT = re.compile(r"Non-2xx.*|Socket errors:.*")
_SCRIPT = """\
local paths = {{{paths}}}
local requests = {{}}
local position = 0
init = function(args)
  for index, path in ipairs(paths) do requests[index] = wrk.format({method}, path, nil, {body}) end
end
request = function()
  position = position % #requests + 1
  return requests[position]
end
"""
# Makes each request differ from all others in a header that means nothing.
_ANEW = """\
local count = 0
local same = request
request = function()
  count = count + 1
  return string.sub(same(), 1, -3) .. "X-Count: " .. count .. "\\r\\n\\r\\n"
end
"""


def measure_rate(  # noqa: PLR0913 - what wrk is told
    port: int,
    paths: Sequence[str],
    *,
    script: Path,
    duration_s: int,
    connections: int = 8,
    is_anew: bool = False,
    body: str | None = None,
) -> Sample:
    """Ask for the paths in turn, over and over, and return the requests answered per second.

    Parameters
    ----------
    port
        HTTP port of the server.
    paths
        What to ask for.
    script
        Where to write the script that makes ``wrk`` rotate over the paths.
    duration_s
        How long to ask.
    connections
        Number of connections that are kept busy by one thread.
    is_anew
        No two requests are the same, so that no answer can be repeated.
    body
        What to write to the paths; None: read them.

    Returns
    -------
    Sample
        Requests per second.

    Raises
    ------
    BenchmarkError
        If an answer is not 2xx or a connection fails.
    """
    script.parent.mkdir(parents=True, exist_ok=True)
    text = _SCRIPT.format(
        paths=", ".join(f'"{path}"' for path in paths),
        method='"GET"' if body is None else '"PUT"',
        body="nil" if body is None else f'"{body}"',
    )
    script.write_text(text + _ANEW if is_anew else text)
    arguments = ["-t1", f"-c{connections}", f"-d{duration_s}s", "-s", str(script)]
    with timed() as watch:
        run = subprocess.run(
            [find_program("wrk"), *arguments, f"http://{HOST}:{port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=duration_s + 60,
        )
    rate = _RATE.search(run.stdout)
    fault = _FAULT.search(run.stdout)
    if rate is None or fault is not None or run.returncode:
        raise BenchmarkError(f"wrk {paths[0]}: {fault[0] if fault else run.stdout + run.stderr}")
    return Sample(float(rate[1]), watch.client_cpu_s / watch.elapsed_s)
