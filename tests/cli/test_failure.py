from __future__ import annotations

import pytest

from streamflow.cli.failure import describe, exit_code
from streamflow.errors import (
    CheckpointError,
    DamagedError,
    DefinitionError,
    FencedError,
    InternalError,
    OperatorError,
    SinkError,
    SourceError,
    StoreFullError,
)


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("error", [DefinitionError("x"), CheckpointError("x"), DamagedError("x")])
def test_what_no_restart_can_mend_ends_with_3(error: Exception) -> None:
    assert exit_code(error) == 3


@pytest.mark.parametrize(
    "error",
    [
        OperatorError("s"),
        SourceError("s", "x"),
        SinkError("s", "x"),
        FencedError("x"),
        StoreFullError("x"),
        ValueError(),
    ],
)
def test_what_another_try_may_mend_ends_with_1(error: Exception) -> None:
    assert exit_code(error) == 1


def test_an_error_is_its_message_its_remedy_and_its_causes_with_the_users_line() -> None:
    cause = raised(KeyError("amount"))
    lines = describe(raised(OperatorError("orders/score", key="acct-17"), cause)).splitlines()
    assert lines[0] == "streamflow.OperatorError: step 'orders/score' failed on key 'acct-17'"
    assert lines[1].startswith("send such rows elsewhere with on_error=dead_letter(sink)")
    assert lines[2].startswith(f"  (caused by KeyError: 'amount', at {__file__}:")
    assert lines[2].endswith(": raise error from cause)")
    assert len(lines) == 3


def test_a_definition_error_names_the_line_that_wrote_it() -> None:
    assert f"(at {__file__}:" in describe(raised(DefinitionError("no")))


def test_causes_that_go_in_a_circle_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert describe(first, with_traceback=False).count("caused by") == 1


def test_a_bug_of_ours_and_an_error_from_nowhere_bring_their_traceback() -> None:
    assert "Traceback" in describe(raised(InternalError("impossible")))
    assert "please report it" in describe(raised(InternalError("impossible")))
    assert describe(ValueError("from nowhere")).endswith("ValueError: from nowhere")


def test_a_traceback_is_there_when_asked_for() -> None:
    assert "Traceback" not in describe(raised(SourceError("s", "x")))
    assert "Traceback" in describe(raised(SourceError("s", "x")), with_traceback=True)
