"""A template in several languages: read from files of locales, refused where it would mix them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from domain.locale_choice import choose_locale
from domain.person import InvalidValue
from domain.template_errors import TemplateRefused
from models.team import default_team_id
from models.template import find_version
from starter.templates import preview, publish, read_folder

PARTS = {"subject.txt": "Hello {{ first_name }}", "body.html": "<p>Hi</p>", "sms.txt": "Hi"}
GERMAN = {"subject.de.txt": "Hallo {{ first_name }}", "body.de.html": "<p>Servus</p>"}


def a_folder(at: Path, **parts: str) -> Path:
    at.mkdir()
    (at / "template.toml").write_text('key = "hello"\nfrom = "Ada <ada@example.org>"\n')
    for name, said in {**PARTS, **parts}.items():
        (at / name).write_text(said)
    return at


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("de_AT", "de_AT"),
        ("de_CH", "de"),
        ("de", "de"),
        ("zh_Hant_TW", "zh_Hant"),
        ("zh_Hans_CN", ""),
        ("en", ""),
        ("pt", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_locale_then_the_language_then_everybodys(wanted: str | None, chosen: str) -> None:
    assert choose_locale({"", "de", "de_AT", "zh_Hant", "pt_BR"}, wanted) == chosen


def test_a_version_holds_what_each_locale_is_told(engine: Engine, tmp_path: Path) -> None:
    label = publish(engine, a_folder(tmp_path / "t", **GERMAN, **{"sms.de-at.txt": "Servas"}))

    with engine.connect() as connection:
        content = find_version(connection, default_team_id(connection), label).content
    assert list(content["email"]) == ["", "de"]
    assert content["email"]["de"] == {
        "subject": "Hallo {{ first_name }}",
        "html": "<p>Servus</p>",
        "text": "",
    }
    assert content["sms"]["de_AT"]["text"] == "Servas", "as people's locales are written"
    assert "de_AT" not in content["email"]


def test_a_new_language_is_a_new_version(engine: Engine, tmp_path: Path) -> None:
    first = publish(engine, a_folder(tmp_path / "a"))
    second = publish(engine, a_folder(tmp_path / "b", **GERMAN))

    assert (first, second) == ("hello@1", "hello@2")


@pytest.mark.parametrize(("locale", "word"), [(None, "Hi"), ("de-at", "Servus"), ("fr", "Hi")])
def test_a_preview_shows_what_somebody_of_the_locale_gets(
    tmp_path: Path, locale: str | None, word: str
) -> None:
    assert preview(a_folder(tmp_path / "t", **GERMAN), {}, locale).html == f"<p>{word}</p>"


def test_a_preview_for_no_locale_there_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="no known locale"):
        preview(a_folder(tmp_path / "t"), {}, "xx_YY")


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"body.de.html": "<p>Servus</p>"}, "email in de lacks the subject"),
        ({**GERMAN, "body.de.txt": "Servus"}, "email in de has a text"),
        ({"in_app.de.txt": "Servus"}, "in_app in de has a text"),
        ({"body.xx.html": "x"}, "body.xx.html: This is no known locale"),
        ({"sms.de-AT.txt": "x", "in_app.de_AT.txt": "x"}, "de_AT is spelt both"),
    ],
)
def test_what_would_mix_languages_or_is_for_nobody_is_refused(
    tmp_path: Path, parts: dict[str, str], sentence: str
) -> None:
    with pytest.raises(TemplateRefused, match=sentence):
        read_folder(a_folder(tmp_path / "t", **parts))
