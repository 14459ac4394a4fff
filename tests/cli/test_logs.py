from __future__ import annotations

import json
import logging
import sys

from streamflow.cli.logs import JsonLines, TextLines


def record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    return logging.getLogger("streamflow.test").makeRecord(
        "streamflow.test", logging.WARNING, "file", 1, message, arguments, None, extra=fields
    )


def test_text_is_time_level_pipeline_event_and_fields() -> None:
    line = TextLines().format(record("checkpoint %d committed", 42, pipeline="fraud", ms=31.25, where="a b", empty=""))
    assert line[2] == line[5] == ":"
    assert line[13:] == 'WARNING fraud  checkpoint 42 committed  ms=31.2  where="a b"  empty=""'


def test_text_without_a_pipeline_names_the_logger() -> None:
    assert TextLines().format(record("closed"))[13:] == "WARNING streamflow.test  closed"


def test_a_mapping_is_named_numbers() -> None:
    assert TextLines().format(record("end", rows_in={"a": 1, "b c": 2})).endswith("  rows_in=a:1,b c:2")


def test_json_has_the_keys_that_collectors_look_for_and_the_fields() -> None:
    entry = json.loads(JsonLines().format(record("started", pipeline="fraud", trigger={1: (2, 3)}, odd=sys)))
    assert {k: entry[k] for k in ("level", "logger", "event", "pipeline")} == {
        "level": "warning",
        "logger": "streamflow.test",
        "event": "started",
        "pipeline": "fraud",
    }
    assert entry["ts"].endswith("+00:00")
    assert entry["odd"] == str(sys)


def test_a_traceback_is_text_in_both() -> None:
    try:
        raise ValueError("reason")
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    assert TextLines().format(failed).endswith("ValueError: reason")
    assert json.loads(JsonLines().format(failed))["traceback"].endswith("ValueError: reason")
