"""Template folders: published as immutable versions, previewed, refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from domain.send import MessageClass
from domain.template_errors import TemplateRefused
from domain.template_folder import BUILT_IN_NAMES
from models.team import default_team_id
from models.template import UnknownTemplate, Version, find_version, list_versions
from starter.templates import SAMPLE, absolute_links, preview, publish, read_data, read_folder

EXAMPLE = Path(__file__).parents[2] / "examples" / "newsletter"

MANIFEST = """
key = "news"
name = "News"
from = "Ada <ada@example.org>"
reply_to = "desk@example.org"
[variables]
plan = "free"
"""
HTML = (
    '<p>Hello {{ first_name }}, <a href="https://example.org/plan?a=1&amp;b=2">{{ plan }}</a></p>'
)


def a_folder(
    at: Path,
    *,
    manifest: str = MANIFEST,
    subject: str = "Hello {{ first_name }}",
    html: str = HTML,
    plain: str = "Hello {{ first_name }}",
) -> Path:
    at.mkdir(exist_ok=True)
    (at / "template.toml").write_text(manifest)
    (at / "subject.txt").write_text(subject)
    (at / "body.html").write_text(html)
    (at / "body.txt").write_text(plain)
    return at


def find(engine: Engine, named: str) -> Version:
    with engine.connect() as connection:
        return find_version(connection, default_team_id(connection), named)


def test_a_folder_becomes_a_numbered_version_with_all_it_says(
    engine: Engine, tmp_path: Path
) -> None:
    label = publish(engine, a_folder(tmp_path / "t"))

    version = find(engine, label)
    assert label == "news@1"
    assert version.name == "News"
    assert version.message_class is MessageClass.MARKETING
    assert version.sender == {"from": "Ada <ada@example.org>", "reply_to": "desk@example.org"}
    assert version.variables == {"plan": "free"}
    parts = version.content["email"][""]
    assert parts == {
        "subject": "Hello {{ first_name }}",
        "html": HTML,
        "text": "Hello {{ first_name }}",
    }


def test_publishing_the_same_content_again_is_the_version_there_is(
    engine: Engine, tmp_path: Path
) -> None:
    folder = a_folder(tmp_path / "t")

    assert [publish(engine, folder), publish(engine, folder)] == ["news@1", "news@1"]


def test_changed_content_is_a_new_version_and_the_key_means_the_newest(
    engine: Engine, tmp_path: Path
) -> None:
    publish(engine, a_folder(tmp_path / "t"))
    publish(engine, a_folder(tmp_path / "t", subject="Other"))
    back = publish(engine, a_folder(tmp_path / "t"))

    assert back == "news@3"
    assert find(engine, "news").label == "news@3"
    assert find(engine, "news@2").content["email"][""]["subject"] == "Other"


def test_a_new_name_renames_the_template_and_makes_no_version(
    engine: Engine, tmp_path: Path
) -> None:
    publish(engine, a_folder(tmp_path / "t"))
    renamed = a_folder(tmp_path / "t", manifest=MANIFEST.replace('"News"', '"Gazette"'))

    assert publish(engine, renamed) == "news@1"
    with engine.connect() as connection:
        listed = list_versions(connection, default_team_id(connection))
    assert [(version.label, version.name) for version in listed] == [("news@1", "Gazette")]


def test_links_of_a_version_are_stored_in_their_order(engine: Engine, tmp_path: Path) -> None:
    html = '<a href="https://b.example/">b</a><a href="https://a.example/">a</a>'

    publish(engine, a_folder(tmp_path / "t", html=html))

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT number, url FROM link ORDER BY number")).all()
    assert [tuple(row) for row in rows] == [(1, "https://b.example/"), (2, "https://a.example/")]


def test_a_published_version_cannot_be_changed(engine: Engine, tmp_path: Path) -> None:
    publish(engine, a_folder(tmp_path / "t"))

    with pytest.raises(DBAPIError, match="cannot be changed"), engine.begin() as connection:
        connection.execute(text("UPDATE template_version SET number = 7"))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("gazette", "There is no template 'gazette'."),
        ("gazette@1", "There is no template 'gazette'."),
        ("news@9", "has no version 9; the newest is news@1"),
        ("news@", "is not a template's name"),
        ("news@x", "is not a template's name"),
        ("news@-1", "is not a template's name"),
        ("news@99999999999999999999", "is not a template's name"),
    ],
)
def test_a_version_that_is_not_there_is_said_so(
    engine: Engine, tmp_path: Path, named: str, said: str
) -> None:
    publish(engine, a_folder(tmp_path / "t"))

    with pytest.raises(UnknownTemplate) as refused:
        find(engine, named)
    assert said in str(refused.value)


def test_absolute_links_are_those_a_reader_can_follow_and_everybody_gets() -> None:
    html = (
        "<a href=\"https://one.example/?a=1&amp;b=2\">1</a><A HREF='http://two.example'>2</A>"
        '<a href="/relative">r</a><a href="mailto:a@example.org">m</a><a href="#top">t</a>'
        '<a href="https://x.example/{{ plan }}">v</a><a href="{{ unsubscribe_url }}">u</a>'
        '<a href="javascript:alert(1)">j</a><a href="https://[broken/">b</a><a>none</a>'
        '<link href="https://style.example/"><map><area href="https://one.example/"></map>'
    )

    assert absolute_links(html) == [
        "https://one.example/?a=1&b=2",
        "http://two.example",
        "https://one.example/",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"manifest": "key = "}, "template.toml"),
        ({"subject": ""}, "subject.txt"),
        ({"html": "{% for x in %}"}, "body.html line 1"),
        ({"html": "", "plain": ""}, "body.html or body.txt"),
        ({"html": "x" * 256_001}, "larger than 256 kB"),
    ],
    ids=["broken manifest", "empty subject", "syntax", "no body", "too large"],
)
def test_a_folder_with_a_fault_is_refused_with_a_sentence_that_names_the_place(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    with pytest.raises(TemplateRefused) as refused:
        read_folder(a_folder(tmp_path / "t", **change))
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["template.toml", "subject.txt"])
def test_a_file_a_template_cannot_do_without_is_named(tmp_path: Path, name: str) -> None:
    folder = a_folder(tmp_path / "t")
    (folder / name).unlink()

    with pytest.raises(TemplateRefused, match=f"{name} is missing"):
        read_folder(folder)


def test_a_folder_that_is_not_there_or_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "t")
    (folder / "body.txt").write_bytes(b"caf\xe9")

    with pytest.raises(TemplateRefused, match="not a folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(TemplateRefused, match=r"not UTF-8 \(byte 3\)"):
        read_folder(folder)


def test_a_template_may_do_with_one_of_the_bodies(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "t")
    (folder / "body.html").unlink()

    assert preview(folder, {}).html == ""


def test_the_sample_recipient_has_every_built_in_name() -> None:
    assert set(SAMPLE) == set(BUILT_IN_NAMES)


def test_a_preview_takes_defaults_then_the_sample_then_the_data(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "t")

    assert preview(folder, {}).subject == "Hello Ada"
    made = preview(folder, {"first_name": "<b>Grace</b>", "plan": "plus"})
    assert "Hello &lt;b&gt;Grace&lt;/b&gt;" in made.html
    assert ">plus</a>" in made.html
    assert made.text == "Hello <b>Grace</b>"


def test_a_preview_names_all_variables_that_nobody_has(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "t", plain="{{ city }} {{ points }}")

    with pytest.raises(TemplateRefused) as refused:
        preview(folder, {})
    assert "city, points" in str(refused.value)


@pytest.mark.parametrize("content", ["[1]", "{", ""])
def test_preview_data_must_be_a_json_object(tmp_path: Path, content: str) -> None:
    file = tmp_path / "data.json"
    file.write_text(content)

    with pytest.raises(TemplateRefused, match="JSON"):
        read_data(file)


def test_preview_data_is_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps({"city": "Lisbon"}))

    assert read_data(file) == {"city": "Lisbon"}


def test_the_example_of_the_demo_can_be_published_and_previewed(engine: Engine) -> None:
    assert publish(engine, EXAMPLE).endswith("@1")
    assert "Ada" in preview(EXAMPLE, {}).html
