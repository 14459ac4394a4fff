"""All scenarios by name, and the groups that they can be asked for in."""

from __future__ import annotations

from fnmatch import fnmatchcase

from bench.embedded import EMBEDDED
from bench.epochs import EPOCHS
from bench.hostile import HOSTILE
from bench.latency import LATENCY
from bench.scaling import SCALING
from bench.scenario import Scenario
from bench.workloads import WORKLOADS

GROUPS = {
    "targets": [s for s in WORKLOADS + LATENCY if s.must is not None],
    "workloads": WORKLOADS,
    "latency": LATENCY,
    "scaling": SCALING,
    "epochs": EPOCHS,
    "embedded": EMBEDDED,
    "hostile": HOSTILE,
}
SCENARIOS = {
    s.name: s for group in ("workloads", "latency", "scaling", "epochs", "embedded", "hostile") for s in GROUPS[group]
}


def chosen(wanted: list[str]) -> list[Scenario]:
    """Return the scenarios of groups, names and patterns (``W2*``), each once, in the order of the registry.

    Raises:
        LookupError: If one of them stands for none.
    """
    found: set[str] = set()
    for word in wanted:
        names = {s.name for s in GROUPS[word]} if word in GROUPS else {n for n in SCENARIOS if fnmatchcase(n, word)}
        if not names:
            raise LookupError(f"no scenario is called {word!r}: there are {', '.join([*GROUPS, *SCENARIOS])}")
        found |= names
    return [scenario for name, scenario in SCENARIOS.items() if name in found]
