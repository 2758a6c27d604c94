"""The message templates that come along: within the language, and safe with anybody's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import templates
from starter.templates import preview

FOLDER = Path(templates.__file__).parent / "messages"


def digest_of(**data: Any) -> dict[str, Any]:
    entries = [{"key": "k-1", "data": data, "member": {}}]
    return {
        "cadence": "weekly",
        "count": 1,
        "items": [{"topic": "orders", "name": "<Orders>", "entries": entries}],
    }


def test_a_digest_shows_topics_and_their_entries() -> None:
    made = preview(
        FOLDER / "digest", digest_of(title="A & B", text="more", url="https://x.example")
    )

    assert made.subject == "Your week: 1 item"
    assert "&lt;Orders&gt;" in made.html
    assert '<a href="https://x.example">A &amp; B</a><br>more' in made.html
    assert "<Orders>\n- A & B\n  https://x.example\n  more" in made.text


def test_an_entry_without_a_title_shows_its_key() -> None:
    assert "- k-1" in preview(FOLDER / "digest", digest_of()).text


@pytest.mark.parametrize("url", ["javascript:alert('https://')", "http://x", "data:,x", 5, ""])
def test_only_https_addresses_become_links(url: Any) -> None:
    made = preview(FOLDER / "digest", digest_of(title="T", url=url))

    assert "<li>T</li>" in made.html


def test_the_mail_to_confirm_has_the_link() -> None:
    given = {"topic_name": "News", "confirm_url": "https://news.example/j/x"}
    made = preview(FOLDER / "confirm-joining", given)

    assert made.subject == "Please confirm: News"
    assert 'href="https://news.example/j/x"' in made.html
    assert "https://news.example/j/x" in made.text
