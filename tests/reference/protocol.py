"""The commit protocol as a state machine of its own, searched exhaustively: what ours was designed from.

Taken over from the design of this project; kept apart from the code that it describes, and run only by hand and by
``tests/laws/test_commit_protocol.py``, which searches the real steps for the same faults.

Two workers of one pipeline take steps in every order; at every step a worker may crash (and start again) or lie frozen
while the other takes over, which is the same as not being scheduled. Input is rows 0..N-1 of a replayable source; an
epoch holds some of them; the sink must hold a prefix of the input, each row once, at all times, and all of it once
somebody has finished.

    python3 protocol.py   # a minute or two: it holds, and of every mutant the shortest trace that breaks it

Sinks: `sql` applies rows and token in one transaction that checks the token, and may lag. `kafka` fences by producer
epoch, reads the token apart from writing, and a commit may take effect though the worker sees an error. Mutants: see
MUTANTS.
"""

import sys
from collections import deque
from typing import NamedTuple

N = {"sql": 2, "kafka": 1}  # rows of input
STARTS = 2  # times each worker may start


class Manifest(NamedTuple):
    number: int
    by: str  # who wrote it, in which life: stands for its checksum
    parent: str  # the checksum of the manifest it follows
    fence: int
    position: int
    staged: tuple[int, ...]


class Worker(NamedTuple):
    at: str = "off"
    starts: int = 0
    number: int = 0  # the last epoch it committed or found
    parent: str = ""  # and its checksum
    fence: int = 0
    position: int = 0
    buffer: tuple[int, ...] = ()
    todo: tuple[Manifest, ...] = ()  # committed epochs to apply, oldest first
    producer: int = 0  # whose producer epoch it writes with (kafka)


class State(NamedTuple):
    store: tuple[Manifest, ...] = ()
    token: int = 0
    rows: tuple[int, ...] = ()
    producer: int = 0  # who fenced last: A 1, B 2 (kafka)
    open: tuple[int, tuple[int, ...]] | None = None  # an open transaction: token, rows
    workers: tuple[Worker, Worker] = (Worker(), Worker())


MUTANTS = {
    "rename": "the manifest is renamed into place: the last one wins",
    "no-list": "a worker applies without listing the store after it created a manifest",
    "apply-first": "the sink is written before the manifest",
    "ignore-token": "recovery applies whatever it finds",
    "drop-staged": "sql: clean-up removes manifests that the sink's token does not cover",
    "no-chain": "recovery takes every manifest it finds for a part of the history",
    "any-order": "sql: clean-up removes an empty manifest from the middle of the history",
    "no-recovery": "recovery does not apply what was committed",
    "no-init": "kafka: a starting worker uses a producer epoch of its own making without fencing the old one",
    "token-first": "kafka: the token is read before the producer is fenced",
}


def largest(store):
    return max(store, key=lambda m: m.number, default=Manifest(0, "", "", 0, 0, ()))


def history(store, parent: str) -> list[Manifest]:
    """The manifests from the one with this checksum back, by parents; what else there is counts for nothing."""
    found = {f"{m.number}{m.by}": m for m in store}
    out = []
    while parent in found:
        out.append(found[parent])
        parent = found[parent].parent
    return out[::-1]


def create(s: State, m: Manifest, mutant: str) -> State | None:
    """The store with the manifest, or None where one of that number exists."""
    if any(x.number == m.number for x in s.store):
        if mutant != "rename":
            return None
        return s._replace(store=tuple(sorted([x for x in s.store if x.number != m.number] + [m])))
    return s._replace(store=tuple(sorted((*s.store, m))))


def successors(s: State, sink: str, mutant: str):  # noqa: C901, PLR0912, PLR0915  one table of all steps
    """Every (name of the step, next state)."""
    for i, w in enumerate(s.workers):

        def go(name, base=None, i=i, w=w, **change):
            base = base if base is not None else s
            ws = list(base.workers)
            ws[i] = w._replace(**change)
            return f"{'AB'[i]} {name}", base._replace(workers=tuple(ws))

        me = f"{'AB'[i]}{w.starts}"
        if w.at != "off":
            yield go("crashes", at="off", number=0, parent="", fence=0, position=0, buffer=(), todo=(), producer=0)
        match w.at:
            case "off":
                if w.starts < STARTS:
                    m = largest(s.store)
                    yield go(
                        f"starts, finds {m.number}",
                        at="begin",
                        starts=w.starts + 1,
                        number=m.number,
                        parent=f"{m.number}{m.by}" if m.number else "",
                        position=m.position,
                    )
            case "begin":  # its first act: an empty epoch that carries its fence
                n = w.number + 1
                made = create(s, Manifest(n, me, w.parent, n, w.position, ()), mutant)
                if made is None:
                    yield go(f"finds {n} taken", at="off", parent="", number=0, position=0)
                else:
                    yield go(f"creates {n} (start)", base=made, at="list-begin", number=n, parent=f"{n}{me}", fence=n)
            case "list-begin" | "list":
                if mutant != "no-list" and largest(s.store).number > w.number:
                    yield go("sees a larger epoch, exits", at="off")
                elif w.at == "list":
                    yield go("lists, is the last", at="run" if sink == "sql" else "write")
                else:
                    known = s.store if mutant == "no-chain" else history(s.store, w.parent)
                    todo = (
                        () if mutant == "no-recovery" else tuple(m for m in known if m.number <= w.number and m.staged)
                    )
                    yield go(
                        "lists, is the last",
                        at="run" if sink == "sql" else "read" if mutant == "token-first" else "init",
                        todo=todo,
                    )
            case "init":  # kafka: fence the old producer, abort what it left open
                if mutant == "no-init":
                    yield go("keeps the producer epoch", at="read", producer=s.producer)
                else:
                    yield go(
                        "fences the producer",
                        base=s._replace(producer=i + 1, open=None),
                        at="write" if mutant == "token-first" else "read",
                        producer=i + 1,
                    )
            case "read":  # kafka: what does the sink have?
                todo = w.todo if mutant == "ignore-token" else tuple(m for m in w.todo if m.number > s.token)
                yield go(f"reads token {s.token}", at="init" if mutant == "token-first" else "write", todo=todo)
            case "write":
                if not w.todo:
                    yield go("has nothing to apply", at="run")
                elif w.producer != s.producer:
                    yield go("is fenced", at="fenced")
                else:
                    yield go(
                        f"writes {w.todo[0].number}",
                        base=s._replace(open=(w.todo[0].number, w.todo[0].staged)),
                        at="end",
                    )
            case "end":
                if w.producer != s.producer:
                    yield go("is fenced", at="fenced")
                elif s.open is None or s.open[0] != w.todo[0].number:
                    yield go("finds its transaction gone", at="fenced")
                else:
                    done = s._replace(token=s.open[0], rows=s.rows + s.open[1], open=None)
                    yield go(f"commits {w.todo[0].number} to the sink", base=done, at="write", todo=w.todo[1:])
                    yield go(f"commits {w.todo[0].number} to the sink, sees an error", base=done, at="fenced")
                    yield go("sees an error, nothing committed", at="fenced")
            case "fenced":  # any producer error: read the store, then fence again
                if largest(s.store).fence > w.fence:
                    yield go("sees a newer fence, exits", at="off")
                else:
                    yield go("sees no newer fence", at="init" if mutant != "token-first" else "read")
            case "run":
                if w.todo:  # sql: one transaction that checks the token; the sink may lag
                    m = w.todo[0]
                    new = s
                    if m.number > s.token or mutant == "ignore-token":
                        new = s._replace(token=max(s.token, m.number), rows=s.rows + m.staged)
                    yield go(f"applies {m.number}", base=new, todo=w.todo[1:])
                if w.position < N[sink]:
                    yield go(
                        f"reads row {w.position}", at="run", buffer=(*w.buffer, w.position), position=w.position + 1
                    )
                if w.buffer and mutant == "apply-first":
                    yield go(
                        "writes to the sink first",
                        base=s._replace(rows=s.rows + w.buffer, token=w.number + 1),
                        at="cut",
                    )
                elif w.buffer:
                    yield go("cuts an epoch", at="cut")
                past = history(s.store, w.parent)
                stale = [m for m in s.store if m.number < w.number and m not in past]
                for m in stale + (
                    past[:-1] if mutant in ("any-order", "drop-staged") else past[:-1][:1]
                ):  # the oldest first
                    if m in stale or m.number <= s.token or not m.staged or mutant == "drop-staged":
                        yield go(f"removes {m.number}", base=s._replace(store=tuple(x for x in s.store if x != m)))
            case "cut":
                m = Manifest(w.number + 1, me, w.parent, w.fence, w.position, w.buffer)
                made = create(s, m, mutant)
                if made is None:
                    yield go(f"finds {m.number} taken, exits", at="off", buffer=(), todo=())
                else:
                    yield go(
                        f"creates {m.number} with {m.staged}",
                        base=made,
                        at="list",
                        number=m.number,
                        parent=f"{m.number}{me}",
                        todo=(*w.todo, m),
                        buffer=(),
                    )


def wrong(s: State, rows: int) -> str | None:
    if s.rows != tuple(range(len(s.rows))):
        return f"the sink holds {s.rows}"
    for w in s.workers:
        if (
            w.at == "run"
            and w.position == rows
            and not w.buffer
            and not w.todo
            and len(s.rows) < rows
            and largest(s.store).number == w.number
        ):
            return f"a worker is through with its input and the sink holds only {s.rows}"
    return None


def search(sink: str, mutant: str = "") -> tuple[int, list[str] | None, str]:
    first = State()
    seen = {first: None}
    queue = deque([first])
    while queue:
        s = queue.popleft()
        if why := wrong(s, N[sink]):
            trace, at = [], s
            while seen[at] is not None:
                name, at = seen[at]
                trace.append(name)
            return len(seen), trace[::-1], why
        for name, t in successors(s, sink, mutant):
            if t not in seen:
                seen[t] = (name, s)
                queue.append(t)
    return len(seen), None, ""


if __name__ == "__main__":
    bad = 0
    for sink in ("sql", "kafka"):
        n, trace, why = search(sink)
        bad += trace is not None
        print(
            f"{sink}: {n:,} states, {'holds' if trace is None else f'BROKEN: {why}: ' + '; '.join(trace)}", flush=True
        )
        for name, text in MUTANTS.items():
            if text.startswith(("kafka:", "sql:")) and not text.startswith(sink):
                continue
            n, trace, why = search(sink, name)
            bad += trace is None
            found = "NOT CAUGHT" if trace is None else f"caught: {why}, after " + "; ".join(trace)
            print(f"  {name:15s} {text}: {found}", flush=True)
    sys.exit(bad)
