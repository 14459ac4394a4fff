"""A worker that is killed where it is told to, as often as it is told to, and what it leaves.

Reads from standard input, a line each, a directory and the failpoints of its lives (JSON); forks one process a life,
and one more that is not killed; writes what became of them.  Forking saves the imports.  With a directory as its
argument it lives there once and is killed from outside, if at all.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import polars as pl

from streamflow._runtime import commit
from streamflow._runtime.checkpoint import Checkpoints, EpochData, Identity
from streamflow._runtime.failpoint import arm
from streamflow._runtime.store import LocalStore
from streamflow.core.chain import reach
from streamflow.core.connector import Token
from streamflow.core.state import Snapshot, StatePart

ROWS = 5


class File:
    """A sink: rows and token in one file, replaced at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token: Token | None = None
        self.rows: list[int] = []
        if path.exists():
            token, self.rows = json.loads(path.read_text())
            self.token = Token(*token)

    def apply(self, pieces: list[bytes], token: Token) -> None:
        if reach(token) <= reach(self.token):
            raise AssertionError(f"{token} was applied after {self.token}")
        self.token, self.rows = token, self.rows + list(b"".join(pieces))
        if self.rows != list(range(len(self.rows))):
            raise AssertionError(f"the sink holds {self.rows}")
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps([[token.generation, token.epoch, token.chunk, token.fence], self.rows]))
        draft.replace(self.path)


def state(position: int, *, full: bool) -> dict[str, Snapshot]:
    rows = range(position) if full else range(position - 1, position)
    frame = pl.DataFrame({"key_0": list(rows), "n": list(rows)}, schema={"key_0": pl.Int64, "n": pl.Int64})
    return {"seen": Snapshot({"rows": position}, (StatePart("keys", frame, ("key_0",)),))}


async def live(directory: Path) -> None:
    """Go on from where the last life ended, a row an epoch, and check that the state is that of the position."""
    sink = File(directory / "sink")
    checkpoints = Checkpoints(LocalStore(directory / "state"), Identity("p", ["sink"]))
    found = await checkpoints.recover()
    position: int = found.positions["rows"]["0"] if found else 0
    if found and position:
        seen = sorted(found.snapshots["seen"].parts[0].frame.get_column("key_0").to_list())
        if seen != list(range(position)):
            raise AssertionError(f"at position {position} the state holds {seen}")
    await checkpoints.begin(EpochData(positions={"rows": {"0": position}}))
    for token in await checkpoints.due("sink", sink.token):
        sink.apply(await checkpoints.staged("sink", token), token)
        checkpoints.applied("sink", token)
    for row in range(position, ROWS):
        full = row % 2 == 0
        data = EpochData(state(row + 1, full=full), {"rows": {"0": row + 1}}, {"sink": [[bytes([row])]]}, full=full)
        number = await checkpoints.commit(data)
        sink.apply([bytes([row])], checkpoints.token(number))
        checkpoints.applied("sink", checkpoints.token(number))
    for _ in range(3):  # what was left lying about is gone once the last three are new
        await checkpoints.commit(EpochData(state(ROWS, full=True), {"rows": {"0": ROWS}}, full=True))
    await checkpoints.close()


def fork(directory: Path, failpoints: str) -> int:
    """Return how a life ended: 0, or the negative number of the signal."""
    pid = os.fork()
    if pid == 0:
        try:
            arm(failpoints)
            asyncio.run(live(directory))
        except BaseException:  # noqa: BLE001  the child must not go on with the parent's loop
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Play every case of standard input."""
    commit.INLINE = 500  # so that full snapshots are files of their own
    if sys.argv[1:]:
        asyncio.run(live(Path(sys.argv[1])))
        return
    for line in sys.stdin:
        case: dict[str, Any] = json.loads(line)
        directory = Path(case["directory"])
        ends = [fork(directory, failpoints) for failpoints in [*case["lives"], ""]]
        sink = File(directory / "sink")
        print(
            json.dumps(
                {
                    "ends": ends,
                    "rows": sink.rows,
                    "files": sorted(path.name for path in (directory / "state").iterdir()),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
