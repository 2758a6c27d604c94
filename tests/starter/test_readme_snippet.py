"""The README's lines for services are run as they stand: what they promise, they do."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Callable
from inspect import CO_COROUTINE
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from sqlalchemy import Engine, text

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"```python\n(from starter import Carillon\n.*?)```", re.DOTALL)

Run = Callable[..., tuple[int, Any]]


def the_lines() -> CodeType:
    """The one block of the README that imports Carillon, to be run in a loop of its own."""
    (block,) = _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    lines: CodeType = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert lines.co_flags & CO_COROUTINE, "the README awaits the answer"
    return lines


@pytest.fixture
def shop(run: Run) -> None:
    """The template that the README publishes, and the customer it names."""
    assert run("template", "publish", str(ROOT / "examples" / "order-shipped"))[0] == 0
    assert run("recipients", "set", "customer-42", "--email", "ada@example.org")[0] == 0


def test_the_readmes_lines_commit_the_message_that_they_name(
    shop: None, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}

    asyncio.run(FunctionType(the_lines(), names)())

    with engine.connect() as connection:
        (row,) = connection.execute(
            text(
                "SELECT s.id, s.idempotency_key, m.variables, r.external_id, o.id IS NOT NULL AS is_out"
                " FROM send s JOIN message m ON m.send_id = s.id"
                " JOIN recipient r ON r.id = m.recipient_id"
                " LEFT JOIN outbox o ON o.send_id = m.send_id AND o.ordinal = m.ordinal"
            )
        ).all()
    assert (row.external_id, row.idempotency_key) == ("customer-42", "shipped-A-17")
    assert row.variables == {"order": "A-17"}
    assert row.is_out, "a worker finds it"
    assert names["sent"].send_id == row.id
    assert capsys.readouterr().out == f"{names['sent'].public_id}\n"
    names["carillon"].close()


def test_the_twin_without_asyncio_gives_the_first_answer_again(shop: None) -> None:
    names: dict[str, Any] = {}
    asyncio.run(FunctionType(the_lines(), names)())

    again = names["carillon"].send_blocking(
        "order-shipped",
        to="customer-42",
        variables={"order": "A-17"},
        idempotency_key="shipped-A-17",
    )

    assert (again.public_id, again.is_repeat) == (names["sent"].public_id, True)
    names["carillon"].close()
