"""Every transcript says what it says, in both layouts and however it is cut."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from streamflow.errors import DefinitionError
from streamflow.testing import Transcript, check_transcript, load_transcripts, run_transcript
from streamflow.testing.transcript import transcript

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.yaml"))
RUNS = [
    pytest.param(page, layout, cut, id=f"{path.stem}: {page.name} [{layout}, {cut}]")
    for path in FILES
    for page in load_transcripts(path)
    for layout in page.layouts
    for cut in page.cuts
]


@pytest.mark.parametrize(("page", "layout", "cut"), RUNS)
async def test_what_goes_in_gives_what_comes_out(page: Transcript, layout: str, cut: str) -> None:
    await check_transcript(page, layout=layout, cut=cut)


def test_names_are_unique_and_laws() -> None:
    names = [page.name for path in FILES for page in load_transcripts(path)]
    assert len(names) == len(set(names)) >= 12


def test_some_transcripts_must_fail() -> None:
    assert sum(bool(page.reject) for path in FILES for page in load_transcripts(path)) >= 3


def test_a_file_is_run_in_every_way_it_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("{name: n, window: {tumbling: 10}, max_delay: 0, cuts: [sent], steps: [end, {expect: []}]}")
    assert run_transcript(path) == 2


def test_the_transcript_in_the_documentation_holds(tmp_path: Path) -> None:
    document = (FOLDER.parents[1] / "docs" / "testing.md").read_text("utf-8")
    (page,) = re.findall(r"^```yaml\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    path = tmp_path / "one.yaml"
    path.write_text(page)
    assert run_transcript(path) == 4


def test_a_transcript_that_must_fail_and_does_not_is_an_error() -> None:
    page = transcript({"name": "n", "window": {"tumbling": 10}, "max_delay": 0, "steps": ["end"], "reject": True})
    with pytest.raises(AssertionError, match="had to fail, and did not"):
        asyncio.run(check_transcript(page))


def test_a_transcript_that_fails_for_another_reason_is_an_error() -> None:
    page = transcript({"name": "n", "window": {"tumbling": 0}, "max_delay": 0, "steps": ["end"], "reject": "rain"})
    with pytest.raises(AssertionError, match="expected an error with 'rain'"):
        asyncio.run(check_transcript(page))


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({"name": "n", "steps": [], "windw": {}}, "windw"),
        ({"name": "n", "steps": []}, "a transcript has a window, or is ordered"),
        ({"name": "n", "steps": [{}], "window": {"tumbling": 1}}, "a step does one thing, got nothing"),
        ({"name": "n", "steps": [{"idle": "A", "finish": "A"}], "window": {"tumbling": 1}}, "a step does one thing"),
        ({"name": "n", "steps": [], "window": {"tumbling": 1, "session": 1}}, "a window is one of"),
        ({"name": "n", "steps": [], "window": {"sliding": 1}}, "every goes with sliding"),
        ({"name": "n", "steps": [], "window": {"session": 1, "offset": 1}}, "offset goes with"),
        ({"name": "n", "steps": [{"input": [["k", 1]]}], "window": {"tumbling": 1}}, "length 3"),
        ({"name": "n", "steps": ["crush"], "window": {"tumbling": 1}}, "crush"),
        ({"name": "n", "steps": [{"watermark": 1}], "max_delay": 0, "window": {"tumbling": 1}}, "leave max_delay out"),
    ],
)
def test_a_page_that_is_no_transcript_says_where(page: dict[str, object], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        transcript(page)


def test_without_pyyaml_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(DefinitionError, match="not installed") as caught:
        load_transcripts(FILES[0])
    assert caught.value.remedy == "pip install 'streamflow-engine[testing]'"


def test_a_file_that_is_no_transcript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("[1, 2]")
    with pytest.raises(DefinitionError, match="expected a transcript or a list of them"):
        load_transcripts(path)
    path.write_text("{")
    with pytest.raises(DefinitionError, match="expected YAML"):
        load_transcripts(path)
