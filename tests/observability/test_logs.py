"""Log lines: ids of the work they belong to, and nobody's name."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import orjson
import pytest

from observability import logged_with
from observability.logs import JsonLines, ReadableLines, log_to_stderr, without_people

log = logging.getLogger("tests.lines")


@pytest.fixture(autouse=True)
def _logging_of_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def a_record(event: str = "batch.passed", **fields: object) -> logging.LogRecord:
    return log.makeRecord(log.name, logging.INFO, "f", 1, event, (), None, extra=fields)


def said(record: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = orjson.loads(JsonLines().format(record))
    return line


def test_a_line_has_the_ids_of_the_work_around_it() -> None:
    with logged_with(request_id="req_1"), logged_with(send_id=7):
        inside = said(a_record(lo=1))
    outside = said(a_record(lo=1))

    assert (inside["request_id"], inside["send_id"], inside["lo"]) == ("req_1", 7, 1)
    assert "send_id" not in outside


def test_a_readable_line_says_the_event_and_its_fields() -> None:
    with logged_with(send_id=7):
        line = ReadableLines().format(a_record(messages=5))

    assert line.endswith("INFO    tests.lines batch.passed send_id=7 messages=5")


@pytest.mark.parametrize("form", [JsonLines(), ReadableLines()], ids=["json", "readable"])
def test_an_error_does_not_quote_whom_it_is_about(form: logging.Formatter) -> None:
    try:
        raise ValueError(
            "duplicate key\nDETAIL:  Key (team_id, address)=(1, Anna Berg) already exists.\n"
            "to anna.berg@example.com, +436601234567 [parameters: {'name': 'Anna Berg'}]"
        )
    except ValueError:
        record = a_record("import.failed")
        record.exc_info = sys.exc_info()

    line = form.format(record)

    assert "ValueError" in line
    for word in ("anna", "Anna", "example.com", "436601234567"):
        # The traceback shows the line of this test that raises.
        assert word not in line.replace("raise ValueError(", ""), line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("x<anna@example.com> refused", "x<…@…> refused"),
        ('"to":"ann.a+b@exämple.org"', '"to":"…@…"'),
        ("postgresql://u:pw@db.example.org/x", "postgresql://u:…@…/x"),
        ("order-shipped@3 by 4711@host", "order-shipped@3 by 4711@host"),
        ("sms to +436601234567.", "sms to +…."),
        ("send_id=1874987234098374", "send_id=1874987234098374"),
    ],
)
def test_what_looks_like_an_address_is_not_shown(line: str, shown: str) -> None:
    assert without_people(line) == shown


@pytest.mark.parametrize(
    ("form", "is_terminal", "is_json"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("json", True, True),
        ("readable", False, False),
    ],
)
def test_lines_are_readable_at_a_terminal_and_json_elsewhere(
    monkeypatch: pytest.MonkeyPatch, form: str, is_terminal: bool, is_json: bool
) -> None:
    output = io.StringIO()
    monkeypatch.setattr(output, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr(sys, "stderr", output)

    log_to_stderr("INFO", form)
    log.info("worker.ready")

    assert output.getvalue().startswith("{") == is_json
    assert "worker.ready" in output.getvalue()
