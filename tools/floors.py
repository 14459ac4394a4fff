"""Draw the floors: write the diagram of the import contract into a Markdown file, between its markers.

The contract in ``pyproject.toml`` is the only place that says which floor stands on which; the diagram repeats it, and
a test fails where it does not.  Knows nothing of what the floors hold.

    python tools/floors.py docs/architecture.md
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- floors: written by `make docs` -->", "<!-- /floors -->"


def floors(pyproject: Path = ROOT / "pyproject.toml") -> list[list[str]]:
    """Return the floors of the package, highest first, each as the names of its modules."""
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [re.findall(r"\w+", layer) for layer in layers]


def diagram(of: list[list[str]]) -> str:
    """Return a Mermaid diagram with one box a floor and an arrow to the one below it."""
    boxes = [f'    f{i}["{" · ".join(names)}"]' for i, names in enumerate(of)]
    arrows = [f"    f{i} --> f{i + 1}" for i in range(len(of) - 1)]
    return "\n".join(["```mermaid", "flowchart TD", *boxes, *arrows, "```"])


def redrawn(text: str, drawing: str) -> str:
    """Return the text with the drawing between the markers.

    Raises:
        ValueError: If it does not have the two markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected a place for the diagram, marked by {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{drawing}\n{END}{after}"


def main(path: Path) -> None:
    """Rewrite one file where its diagram is out of date."""
    text = path.read_text()
    fresh = redrawn(text, diagram(floors()))
    if fresh != text:
        path.write_text(fresh)
        print(f"{path}: the diagram of the floors is drawn anew")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
