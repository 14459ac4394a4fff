"""Law: two workers of one pipeline, in every order and crashing at any step, leave in the sink each row once, in order.

The steps searched are the ones that run (``Commits``, ``core.chain``), over a real ``MemoryStore``; the state machine
around them is that of ``tests/reference/protocol.py``.  Every step is a function of where the worker stands and of what
is in the store, so its outcome is remembered, and the search visits every state that can be reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from streamflow._runtime import commit
from streamflow._runtime.commit import Commits, Identity, Tip
from streamflow._runtime.content import Content
from streamflow._runtime.store import MemoryStore
from streamflow.core import chain
from streamflow.core.chain import due, reach
from streamflow.core.connector import Token
from streamflow.core.manifest import NOTHING, Link, Reach, largest
from streamflow.errors import FencedError
from tests.reference import protocol

STARTS = 2  # times each worker may start

Files = int  # which content of the store: an index, since it is compared millions of times
Stand = int  # which place on the number line, likewise


class Worker(NamedTuple):
    at: str = "off"
    starts: int = 0
    stand: Stand = -1
    position: int = 0
    buffer: tuple[int, ...] = ()
    todo: tuple[tuple[Token, tuple[int, ...]], ...] = ()  # committed and not applied by this worker yet
    gone: tuple[str, ...] = ()  # what its clean-up has still to remove
    has: Reach = NOTHING  # what it knows the sink to have


class State(NamedTuple):
    files: Files = 0
    has: Reach = NOTHING
    rows: tuple[int, ...] = ()
    workers: tuple[Worker, Worker] = (Worker(), Worker())


class Search:
    """All states that two workers can reach, or the shortest trace to one that breaks the law."""

    def __init__(self, rows: int, mutant: str = "") -> None:
        self.rows, self.mutant = rows, mutant
        self.contents: list[tuple[tuple[str, bytes], ...]] = [()]
        self.tips: list[Tip] = []
        self.numbers: dict[Any, int] = {(): 0}
        self.outcomes: dict[Any, Any] = {}

    def run(self) -> tuple[int, list[str] | None]:
        first = State()
        seen: dict[State, tuple[str, State] | None] = {first: None}
        queue = deque([first])
        while queue:
            state = queue.popleft()
            if why := self.wrong(state):
                return len(seen), [*trace(seen, state), why]
            for name, after in self.successors(state):
                if after not in seen:
                    seen[after] = (name, state)
                    queue.append(after)
        return len(seen), None

    def wrong(self, state: State) -> str | None:
        if state.rows != tuple(range(len(state.rows))):
            return f"the sink holds {state.rows}"
        for worker in state.workers:
            if worker.at == "contradicted":
                return "a worker found a contradiction"
            is_through = worker.at == "run" and worker.position == self.rows and not worker.buffer and not worker.todo
            if not is_through or len(state.rows) == self.rows:
                continue
            if largest(name for name, _ in self.contents[state.files]) == self.tips[worker.stand].largest:
                return f"a worker is through with its input and the sink holds only {state.rows}"
        return None

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        for i, worker in enumerate(state.workers):
            who = "AB"[i]
            if worker.at != "off":
                yield self.moved(state, i, f"{who} crashes", Worker(starts=worker.starts))
            for name, base, after in getattr(self, f"at_{worker.at}")(state, worker, who):
                yield self.moved(base, i, f"{who} {name}", after)

    def moved(self, state: State, i: int, name: str, worker: Worker) -> tuple[str, State]:
        workers = list(state.workers)
        workers[i] = worker
        return name, state._replace(workers=(workers[0], workers[1]))

    # ---- the steps of a worker: (what it does, the state but for the worker, the worker)

    def at_off(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        if w.starts < STARTS:
            tip, position = self.once("find", state.files, None, lambda c, _: self.find(c))
            stand = self.known(replace(tip, fence=tip.next))
            yield (
                f"starts, finds {tip.largest}",
                state,
                w._replace(at="begin", starts=w.starts + 1, stand=stand, position=position),
            )

    def at_begin(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        yield from self.create(state, w, f"{who}{w.starts}", "start", then="opening")

    def at_cut(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        yield from self.create(state, w, f"{who}{w.starts}", "epoch", then="list")

    def at_opening(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        if self.once("confirm", state.files, w, lambda c, tip: c.confirm(tip)) is None:
            yield "sees a larger epoch, exits", state, Worker(starts=w.starts)
        else:
            yield "lists, is the last", state, w._replace(at="open")

    def at_open(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        has = NOTHING if self.mutant == "ignore-token" else state.has
        try:
            chunks = due(self.tips[w.stand].chain, "out", Token(*has) if has[0] else None)
        except chain.CheckpointError:
            yield "is refused", state, w._replace(at="refused")
            return
        owed = () if self.mutant == "no-recovery" else tuple(self.staged(link, has[0]) for link, _ in chunks)
        yield f"reads token {has[1]}", state, w._replace(at="run", todo=owed, has=has)

    def at_list(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        names = self.once("confirm", state.files, w, lambda c, tip: c.confirm(tip))
        if names is None:
            yield "sees a larger epoch, exits", state, Worker(starts=w.starts)
            return
        gone = tuple(commit.removable(names, self.tips[w.stand].chain, {"out": w.has}))
        yield "lists, is the last", state, w._replace(at="clean", gone=gone)

    def at_clean(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        if not w.gone:
            tip = self.tips[w.stand]
            names = [name for name, _ in self.contents[state.files]]
            kept = tuple(link for link in tip.chain if chain.manifest_name(link.number) in names)
            yield "has cleaned up", state, w._replace(at="run", stand=self.known(replace(tip, chain=kept)))
        else:
            left = tuple(file for file in self.contents[state.files] if file[0] != w.gone[0])
            yield f"removes {w.gone[0]}", state._replace(files=self.stored(left)), w._replace(gone=w.gone[1:])

    def at_run(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        if w.todo:  # one transaction that checks the token; the sink may lag
            (token, rows), *todo = w.todo
            base = state
            if reach(token) > state.has or self.mutant == "ignore-token":
                base = state._replace(has=max(state.has, reach(token)), rows=state.rows + rows)
            yield f"applies {token.epoch}", base, w._replace(todo=tuple(todo), has=max(w.has, reach(token)))
        if w.position < self.rows:
            read = w._replace(buffer=(*w.buffer, w.position), position=w.position + 1)
            yield f"reads row {w.position}", state, read
        if w.buffer and self.mutant == "apply-first":
            has = (1, self.tips[w.stand].next, 0)
            yield "writes to the sink", state._replace(rows=state.rows + w.buffer, has=has), w._replace(at="cut")
        elif w.buffer:
            yield "cuts an epoch", state, w._replace(at="cut")

    def at_refused(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        if self.once("confirm", state.files, w, lambda c, tip: c.confirm(tip)) is None:
            yield "sees a larger epoch, exits", state, Worker(starts=w.starts)
        else:
            yield "lists, is the last", state, w._replace(at="contradicted")

    def at_contradicted(self, state: State, w: Worker, who: str) -> Iterator[tuple[str, State, Worker]]:
        yield from ()

    # ---- the real thing

    def create(self, state: State, w: Worker, life: str, kind: Any, then: str) -> Iterator[tuple[str, State, Worker]]:
        staged = {"out": [[bytes(w.buffer)]]} if w.buffer else {}
        what = Content(positions={"s": {"0": w.position}}, staged=staged, full=True)

        def step(commits: Commits, tip: Tip) -> Stand:
            commits.identity = Identity("p", ["out"], writer=life, now=lambda: 0.0)
            return self.known(commits.create(tip, commits.draft(tip, kind, what, {"out": w.has})))

        made = self.once((kind, life, w.position, w.buffer, w.has), state.files, w, step, with_files=True)
        number = self.tips[w.stand].next
        if made is None:
            yield f"finds {number} taken, exits", state, Worker(starts=w.starts)
            return
        stand, files = made
        link = self.tips[stand].chain[-1]
        todo = (*w.todo, self.staged(link, 0)) if w.buffer else w.todo
        after = w._replace(at=then, stand=stand, todo=todo, buffer=())
        yield f"creates {number} with {list(w.buffer)}", state._replace(files=files), after

    def find(self, commits: Commits) -> tuple[Tip, int]:
        found = commits.find()
        history = next(found.chains(), ())
        if not history:
            return Tip(), 0
        return Tip(history, found.largest), commits.read_state(history).positions["s"]["0"]

    def staged(self, link: Link, _: int) -> tuple[Token, tuple[int, ...]]:
        rows = self.outcomes[link.checksum]
        return Token(link.manifest.generation, link.number), rows

    def known(self, tip: Tip) -> Stand:
        facts = ("tip", *(link.checksum for link in tip.chain), tip.largest, tip.generation, tip.fence)
        if facts not in self.numbers:
            self.numbers[facts] = len(self.tips)
            self.tips.append(tip)
        return self.numbers[facts]

    def stored(self, content: tuple[tuple[str, bytes], ...]) -> Files:
        if content not in self.numbers:
            self.numbers[content] = len(self.contents)
            self.contents.append(content)
        return self.numbers[content]

    def once(
        self,
        name: Any,
        files: Files,
        w: Worker | None,
        step: Callable[[Commits, Tip], Any],
        *,
        with_files: bool = False,
    ) -> Any:
        """Return what a step returns, remembered; None where it was fenced."""
        key = (name, files, w.stand if w else -1)
        if key not in self.outcomes:
            store = MemoryStore()
            store._files = dict(self.contents[files])
            commits = Commits(store, Identity("p", ["out"]))
            try:
                made = step(commits, self.tips[w.stand] if w else Tip())
            except FencedError:
                made = None
            if with_files and made is not None:
                link = self.tips[made].chain[-1]
                pieces = commits.read_staged(link, "out", 0) if link.manifest.staged else []
                self.outcomes[link.checksum] = tuple(b"".join(pieces))
                made = made, self.stored(tuple(sorted(store._files.items())))
            self.outcomes[key] = made
        return self.outcomes[key]


def trace(seen: dict[State, tuple[str, State] | None], state: State) -> list[str]:
    names = []
    while (step := seen[state]) is not None:
        names.append(step[0])
        state = step[1]
    return names[::-1]


@pytest.fixture(autouse=True)
def eager_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep one manifest only: the fewer stay, the more can go wrong."""
    monkeypatch.setattr(chain, "KEPT", 1)


def overwrite(store: MemoryStore, name: str, content: Any) -> bool:
    store._files[name] = b"".join(content)
    return True


def from_the_middle(names: Any, links: Any, has: Any) -> list[str]:
    return [chain.manifest_name(x.number) for x in links[:-1] if chain._is_covered(x, has, ["out"])]


def every_manifest(links: Any, tip: Link) -> tuple[Link, ...]:
    return tuple(sorted((x for x in links if x.number <= tip.number), key=lambda x: x.number))


MUTANTS: dict[str, tuple[object, str, object] | None] = {
    "rename": (MemoryStore, "create", overwrite),
    "no-list": (Commits, "confirm", lambda self, tip: self.store.list()),
    "drop-staged": (chain, "_is_covered", lambda link, has, sinks: True),
    "any-order": (commit, "removable", from_the_middle),
    "no-chain": (commit, "history", every_manifest),
    "apply-first": None,  # the order of the machine itself
    "ignore-token": None,
    "no-recovery": None,
}


def test_the_sink_holds_each_row_once_in_every_interleaving() -> None:
    states, broken = Search(rows=2).run()
    assert broken is None
    assert states > 100_000  # it did search


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_search_finds_what_is_wrong_with_each_mutant(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch = MUTANTS[mutant]
    if patch is not None:
        monkeypatch.setattr(*patch)  # type: ignore[call-overload]  # (owner, name, value)
    rows = 2 if mutant in {"drop-staged", "any-order"} else 1  # clean-up needs a second epoch to go wrong
    _, broken = Search(rows, mutant).run()
    assert broken is not None


def test_the_reference_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "N", {"sql": 1})
    assert protocol.search("sql")[1] is None
    assert protocol.search("sql", "rename")[1] is not None
