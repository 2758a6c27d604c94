"""Structured logs: an event with its fields, as a JSON line or readable; no addresses, no content.

Fields that hold for a whole piece of work (send_id, group_id, request_id) are named once by
`logged_with`; the ids of the trace under way are added where tracing is on.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from observability.tracing import trace_ids

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_bound: ContextVar[dict[str, object]] = ContextVar("carillon_log_fields")

# The last resort: what libraries and tracebacks say is not ours, and may quote what they were given.
# Not template@3 and not pid@host: a domain has a dot and a name behind it.
_ADDRESS = re.compile(r"[^\s@<>\"'(),;:=\[\]\\]+@[^\s@<>\"'(),;:=\[\]\\]*\.[^\W\d_]{2,}")
_NUMBER = re.compile(r"\+\d{8,15}\b")
_DETAIL = re.compile(r"(DETAIL:|\[parameters:).*?(?=\\n|\n|$)")


def without_people(line: str) -> str:
    """The line without what looks like an e-mail address, a telephone number or a row's values."""
    line = _DETAIL.sub(r"\1 …", line)
    return _NUMBER.sub("+…", _ADDRESS.sub("…@…", line))


@contextmanager
def logged_with(**fields: object) -> Iterator[None]:
    """Whatever is logged inside, on this thread or task, has these fields, too."""
    token = _bound.set({**_bound.get({}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    own = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    return {**_bound.get({}), **trace_ids(), **own}


class JsonLines(logging.Formatter):
    """An event and its fields as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["error"] = without_people(self.formatException(record.exc_info))
        return without_people(orjson.dumps(line, default=str).decode())


class ReadableLines(logging.Formatter):
    """The same for a person at a terminal: time, level, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; a traceback follows on lines of its own."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        said = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        line = f"{at} {record.levelname:<7} {record.name} {record.getMessage()} {said}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return without_people(line)


def log_to_stderr(level: str, form: str = "auto") -> None:
    """Send all logs of this process to stderr.

    `form`: json, readable, or auto, which is readable at a terminal and JSON everywhere else.
    """
    is_readable = form == "readable" or (form == "auto" and sys.stderr.isatty())
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(ReadableLines() if is_readable else JsonLines())
    logging.basicConfig(level=level, handlers=[output], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
