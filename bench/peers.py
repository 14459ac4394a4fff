"""``make bench-peers``: other engines on the same work, each in an environment of its own, beside streamflow.

    python -m bench.peers                             csp, bytewax, streamz, on 100,000 rows
    python -m bench.peers --only pyspark --size 1m    needs Java 17; 900 MB

Installs what is not there yet under ``~/.cache/streamflow-bench/peers`` (``PEERS`` names another folder), in the newest
version there is, and prints which.  Every figure is the median of runs whose answer equals the oracle's; a peer that
gives another answer is printed as wrong.  streamflow is measured in the same minutes, by the same rule: with functions
on Python rows where the peers have functions, and as columns besides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import data
from bench.answers import agrees, oracle
from bench.registry import SCENARIOS
from bench.run import RunError, median, print_table

SCRIPTS = Path(__file__).parent / "peer_scripts"
WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6", "W7")
OURS = {
    "streamflow, rows": {"W1": "W1-rows", "W2": "W2-rows", "W3": "W3-rows", "W4": "W4", "W7": "W7"},
    "streamflow, columns": {"W1": "W1", "W2": "W2", "W3": "W3", "W5": "W5c", "W6": "W6c"},
}
LIMIT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Peer:
    """An engine, and what to install for it."""

    name: str
    script: str
    packages: tuple[str, ...]


PEERS = [
    Peer("csp", "on_csp.py", ("csp",)),
    Peer("bytewax", "on_bytewax.py", ("bytewax",)),
    Peer("streamz", "on_streamz.py", ("streamz",)),
    Peer("pyspark", "on_spark.py", ("pyspark", "pandas", "pyarrow")),
]
DEFAULT = ("csp", "bytewax", "streamz")


def install(peer: Peer) -> Path:
    """Return the interpreter of a peer's environment, made if it is not there."""
    folder = Path(os.environ.get("PEERS", "~/.cache/streamflow-bench/peers")).expanduser() / peer.name
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        print(f"installing {peer.name} ...", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.packages], check=True)
        (folder / ".installed").touch()
    return python


def version(peer: Peer, python: Path) -> str:
    """Return the version that is installed."""
    ask = f"import importlib.metadata as m; print(m.version({peer.packages[0]!r}))"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def measure(peer: Peer, python: Path, workload: str, size: str, reps: int) -> str:
    """Return one cell of the table."""
    environment = os.environ | {"BENCH_DATA": str(data.folder())}
    command = [str(python), str(SCRIPTS / peer.script), workload, size, str(reps)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=SCRIPTS, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"over {LIMIT_SECONDS} s"
    runs = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return "failed"
    if not runs:
        return "none"
    if workload == "W7":
        return _latency([run["answer"] for run in runs])
    want = oracle(workload, size)
    if not all(agrees(run["answer"], want) for run in runs):
        return "wrong"
    return f"{statistics.median(run['rows'] / run['seconds'] for run in runs) / 1e3:,.0f}k"


def ours(names: dict[str, str], workload: str, size: str, reps: int) -> str:
    """Return streamflow's cell of the table."""
    if workload not in names:
        return ""
    try:
        result = median(SCENARIOS[names[workload]], size, reps, with_limits=False)
    except RunError as failure:
        print(failure, file=sys.stderr)
        return "wrong or failed"
    return _latency([result["figures"]]) if workload == "W7" else f"{result['rows_s'] / 1e3:,.0f}k"


def _latency(runs: list[dict[str, Any]]) -> str:
    return " / ".join(f"{statistics.median(run[q] for run in runs):.2f}" for q in ("p50_ms", "p99_ms")) + " ms"


def prepare(size: str) -> None:
    """Write what the peers read."""
    users = data.folder() / "users.json"
    if not users.exists():
        users.write_text(json.dumps({row["user"]: row for row in data.users().to_dicts()}))
    data.lines(size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[peer.name for peer in PEERS], default=DEFAULT)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--size", default="100k", choices=list(data.SIZES))
    parser.add_argument("--reps", type=int, default=3)
    asked = parser.parse_args(arguments)
    prepare(asked.size)
    lines = [("rows/s", *asked.workloads)]
    for peer in (peer for peer in PEERS if peer.name in asked.only):
        python = install(peer)
        cells = [measure(peer, python, workload, asked.size, asked.reps) for workload in asked.workloads]
        lines.append((f"{peer.name} {version(peer, python)}", *cells))
    for name, names in OURS.items():
        lines.append((name, *(ours(names, workload, asked.size, asked.reps) for workload in asked.workloads)))
    print_table(lines)
    print(f"\n{asked.size} rows, medians of {asked.reps}; W7: p50 / p99")
    return 0


if __name__ == "__main__":
    sys.exit(main())
