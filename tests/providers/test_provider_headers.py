"""Control characters, senders, and vendors' words without addresses."""

from __future__ import annotations

import pytest

from providers.headers import HeaderRefused, parse_sender, refuse_control_characters
from providers.protocol import Sender
from providers.redaction import without_addresses

CONTROLS = [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, 0xD83D]


@pytest.mark.parametrize("character", CONTROLS)
def test_control_characters_are_refused_wherever_they_stand(character: int) -> None:
    for value in (chr(character), f"a{chr(character)}b", f"Grüße{chr(character)}"):
        with pytest.raises(HeaderRefused, match="U\\+"):
            refuse_control_characters(value)


@pytest.mark.parametrize("value", ["", "Ann", "Jörg O'Neil", "山田", "a\u00a0b", "👩‍👧", "\u202e"])
def test_other_text_is_let_through(value: str) -> None:
    refuse_control_characters(value)


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("a@b.example", Sender(address="a@b.example")),
        ("Ann <a@b.example>", Sender(address="a@b.example", name="Ann")),
        ('"Lee, Ann" <a@B.example>', Sender(address="a@b.example", name="Lee, Ann")),
        ("Käse <käse@bücher.example>", Sender(address="käse@bücher.example", name="Käse")),
        (" Ann  <a@b.test> ", Sender(address="a@b.test", name="Ann")),
    ],
)
def test_sender_is_read(text: str, sender: Sender) -> None:
    assert parse_sender(text) == sender


def test_reply_to_is_read() -> None:
    assert parse_sender("a@b.example", " c@d.example ").reply_to == "c@d.example"


@pytest.mark.parametrize(
    ("text", "reply_to"),
    [
        ("", ""),
        ("Ann", ""),
        ("Ann <a@b>", ""),
        ("Lee, Ann <a@b.example>", ""),
        ("a@b.example, c@d.example", ""),
        ("Ann\r\nBcc: x@y.example <a@b.example>", ""),
        ("a@b.example", "not an address"),
        ("a@b.example", "c@d.example\r\nX: 1"),
    ],
)
def test_wrong_senders_are_refused(text: str, reply_to: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_sender(text, reply_to)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("user <ann@b.example> unknown", "user <<address>> unknown"),
        ("Recipient ANN is\r\n unknown (ann)", "Recipient … is unknown (…)"),
        ("planned", "planned"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_operators_sentence_holds_no_address(text: str, line: str) -> None:
    assert without_addresses(text, "ann", "") == line
