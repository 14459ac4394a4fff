"""Log lines: one a record, as text or as JSON.  The library only logs; here its records are given a place to go.

Text is for people, ``12:00:01.123 INFO  fraud  started  trigger=continuous``; JSON is for machines, with the keys
``ts``, ``level``, ``logger``, ``event``, ``pipeline`` and what else the record has.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, final

import msgspec

LEVELS = ("debug", "info", "warning", "error")
_STANDARD = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName", "pipeline"}


def configure(level: str, *, as_json: bool) -> None:
    """Send every record of this level and above to standard error."""
    handler = _ToStderr()
    handler.setFormatter(JsonLines() if as_json else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


@final
class _ToStderr(logging.Handler):
    """Writes to what ``sys.stderr`` is when a record comes: a live display puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # nobody reads it, or it is closed: there is no place left to say so
            self.handleError(record)


@final
class TextLines(logging.Formatter):
    """``12:00:01.123 INFO  fraud  started  trigger=continuous``, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and a traceback behind it where it has one."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        source = getattr(record, "pipeline", record.name)
        fields = "".join(f"  {name}={_shown(value)}" for name, value in _fields(record).items())
        line = f"{at} {record.levelname:<7} {source}  {record.getMessage()}{fields}"
        return line if not record.exc_info else f"{line}\n{self.formatException(record.exc_info)}"


@final
class JsonLines(logging.Formatter):
    """One JSON object a line; times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one object; a traceback is text in it."""
        entry: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if hasattr(record, "pipeline"):
            entry["pipeline"] = record.pipeline
        entry |= _fields(record)
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry, enc_hook=str).decode()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{_shown(part)}" for name, part in value.items())
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f'"{text}"' if " " in text or not text else text
