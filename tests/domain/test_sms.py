"""How many segments a text is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sms import is_gsm_7, segments

GSM_7 = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ aZ09à"
EXTENSION = "^{}\\[~]|€"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("€" * 152, 2),  # 76 in each: an escape is not cut from its character
        ("€" * 153, 3),
        ("ç", 1),  # not in the alphabet, unlike Ç
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("ç" * 134, 2),
        ("ç" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),  # 33 in each: a surrogate pair is not cut
        ("😀" * 67, 3),
        ("a" * 160 + "’", 3),  # one curly quote makes 161 characters three segments
    ],
)
def test_segments_of_a_text(text: str, expected: int) -> None:
    assert segments(text) == expected


@pytest.mark.parametrize("text", [GSM_7, EXTENSION, ""])
def test_the_gsm_alphabet_has_its_extension(text: str) -> None:
    assert is_gsm_7(text)


@pytest.mark.parametrize("character", ["ç", "’", "`", "😀", "я", "\t", "ñ́"])
def test_anything_else_is_not_of_the_alphabet(character: str) -> None:
    assert not is_gsm_7(character)


TEXTS = st.text(st.one_of(st.sampled_from(GSM_7 + EXTENSION), st.characters()), max_size=500)


@given(TEXTS, TEXTS)
def test_more_text_is_never_fewer_segments(text: str, more: str) -> None:
    assert segments(text + more) >= segments(text)


@given(TEXTS)
def test_segments_hold_the_whole_text_and_waste_one_unit_each_at_most(text: str) -> None:
    if is_gsm_7(text):
        size, room = sum(2 if character in EXTENSION + "\f" else 1 for character in text), 153
        alone = 160
    else:
        size, room, alone = len(text.encode("utf-16-le", "surrogatepass")) // 2, 67, 70

    count = segments(text)

    if size <= alone:
        assert count == (1 if text else 0)
    else:
        assert -(-size // room) <= count <= -(-size // (room - 1))
