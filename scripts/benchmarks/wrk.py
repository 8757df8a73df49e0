"""Reads requests as bytes and gives what ``wrk`` measured when it sent them, on one thread, to a server."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.benchmarks.servers import BenchmarkError

_SCRIPT = Path(__file__).parent / "replay.lua"
# Slow answers are to be seen as slow.
_PATIENCE = "30s"
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LATENCY = re.compile(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m|h) *$", re.MULTILINE)
_REQUESTS = re.compile(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h)")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_BROKEN = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


@dataclass(frozen=True, slots=True)
class Measured:
    """What wrk found; times are seconds."""

    requests: int
    requests_per_second: float
    p50: float
    p99: float
    refused: int = 0
    """Answers that were neither 2xx nor 3xx."""
    broken: int = 0
    """Connections that failed, and answers that did not come within half a minute."""
    client_cpu: float = 0.0
    """Seconds of processor time that wrk took."""


def parse(text: str) -> Measured:
    """Read what wrk printed with ``--latency``; BenchmarkError if it is not that."""
    latencies = {percent: float(value) * _SECONDS[unit] for percent, value, unit in _LATENCY.findall(text)}
    requests, rate = _REQUESTS.search(text), _RATE.search(text)
    if not {"50", "99"} <= latencies.keys() or requests is None or rate is None:
        raise BenchmarkError(f"wrk said what nobody understands:\n{text}")
    refused, broken = _REFUSED.search(text), _BROKEN.search(text)
    return Measured(
        requests=int(requests[1]),
        requests_per_second=float(rate[1]),
        p50=latencies["50"],
        p99=latencies["99"],
        refused=int(refused[1]) if refused else 0,
        broken=sum(map(int, broken.groups())) if broken else 0,
    )


def find() -> str:
    """Give the program; BenchmarkError says how to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkError("wrk is missing: install the Debian package of that name (apt-get install wrk)")
    return found


def run(url: str, requests: Sequence[bytes], connections: int, seconds: float, *, again: bool) -> Measured:
    """Send requests in order, each on the next connection that is free; ``again`` starts over at their end.

    BenchmarkError if wrk is missing, if any answer was not as it should be, or if the requests ran out.
    """
    found = send(url, requests, connections, seconds, again=again)
    if found.refused or found.broken:
        raise BenchmarkError(
            f"{found.refused} of {found.requests} requests were refused and {found.broken} broke off at {connections} "
            f"connections to {url}; {len(requests)} requests were prepared"
        )
    return found


def send(url: str, requests: Sequence[bytes], connections: int, seconds: float, *, again: bool) -> Measured:
    """Do the same, whatever the answers are."""
    wrk = find()
    with tempfile.NamedTemporaryFile(suffix=".requests") as file:
        file.write(b"\0".join(requests) + b"\0")
        file.flush()
        # wrk counts whole seconds.
        length = f"{max(1, round(seconds))}s"
        command = [
            wrk,
            "-t1",
            f"-c{connections}",
            f"-d{length}",
            "--latency",
            "--timeout",
            _PATIENCE,
            "-s",
            str(_SCRIPT),
            url,
        ]
        command += ["--", file.name, "again" if again else "once"]
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as running,
        ):
            # What all children took would not do: two may be running.
            _, status, used = os.wait4(running.pid, 0)
            running.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            text = said.read()
    if running.returncode:
        raise BenchmarkError(f"wrk failed: {text}")
    return replace(parse(text), client_cpu=used.ru_utime + used.ru_stime)
