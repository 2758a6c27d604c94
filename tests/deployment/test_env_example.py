"""What is written down is so: .env.example, the README's table of settings, commands and links.

`python tests/deployment/test_env_example.py` writes both anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from typer.main import get_command

from settings import PREFIX, Settings
from starter.cli import app
from starter.env_example import env_example

ROOT = Path(__file__).parents[2]
ENV_EXAMPLE = ROOT / ".env.example"
README = ROOT / "README.md"
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
BEGIN, END = "<!-- settings: made from settings.py -->\n", "<!-- end of settings -->\n"
_BETWEEN = re.compile(re.escape(BEGIN) + "(.*)" + re.escape(END), re.DOTALL)


def settings_table() -> str:
    """The README's table: every variable with its default and meaning."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_shown(field.default)} | {_escaped(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _shown(default: object) -> str:
    value = default.get_secret_value() if isinstance(default, SecretStr) else str(default)
    return f"`{value}`" if value else ""


def _escaped(text: str) -> str:
    """As Markdown: an address in angle brackets would become a link, a bar another cell."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def test_the_env_example_is_made_from_the_settings() -> None:
    assert ENV_EXAMPLE.read_text(encoding="utf-8") == env_example()


def test_the_env_example_sets_nothing() -> None:
    lines = ENV_EXAMPLE.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == []


def test_the_readme_lists_every_setting() -> None:
    found = _BETWEEN.search(README.read_text(encoding="utf-8"))

    assert found
    assert found[1] == settings_table()


def test_every_variable_that_the_documents_name_is_a_setting() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    # Read elsewhere: by the command line, and by workers for their supervisor.
    known |= {f"{name}_FILE" for name in known} | {"CARILLON_DEBUG", "CARILLON_READY_FILE"}

    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", document.read_text(encoding="utf-8"))
    }

    assert named - known == set()


def test_every_command_that_the_documents_show_exists() -> None:
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]  # a group
    shown = {
        found.groups()
        for document in DOCUMENTS
        for found in re.finditer(
            r"(?:\./|`)carillon ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", document.read_text("utf-8")
        )
    }

    assert len(shown) > 15
    for first, second in sorted(shown, key=str):
        assert first in commands, first
        if hasattr(commands[first], "commands"):
            assert second in commands[first].commands, f"{first} {second}"


def test_every_link_between_the_documents_leads_to_a_file() -> None:
    links = [
        (document, link)
        for document in DOCUMENTS
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text("utf-8"))
    ]

    assert links
    assert [(str(at), link) for at, link in links if not (at.parent / link).exists()] == []


if __name__ == "__main__":
    ENV_EXAMPLE.write_text(env_example(), encoding="utf-8")
    page = README.read_text(encoding="utf-8")
    README.write_text(
        _BETWEEN.sub(lambda _: BEGIN + settings_table() + END, page), encoding="utf-8"
    )
