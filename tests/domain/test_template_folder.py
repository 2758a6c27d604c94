"""Manifests, missing names, and the newsletter of the demo with its invented people."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from domain.send import MessageClass
from domain.template_errors import TemplateRefused
from domain.template_folder import BUILT_IN_NAMES, Manifest, missing_names, parse_manifest
from domain.template_render import (
    CompiledTemplate,
    Rendered,
    RunnerKind,
    TemplateSource,
    compile_template,
)
from examples import make_people

EXAMPLES = Path(make_people.__file__).parent
FOLDER = EXAMPLES / "newsletter"


def read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def newsletter(runner: RunnerKind = RunnerKind.COMPILED) -> CompiledTemplate:
    parts = (read("subject.txt"), read("body.html"), read("body.txt"))
    source = TemplateSource(subject=parts[0], html=parts[1], text=parts[2])
    return compile_template(source, runner=runner)


def people() -> list[dict[str, str]]:
    with (EXAMPLES / "people.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_manifest_needs_a_key_only() -> None:
    manifest = parse_manifest('key = "welcome"')

    assert manifest == Manifest(key="welcome", name="welcome")
    assert manifest.message_class is MessageClass.MARKETING


def test_a_manifest_in_full() -> None:
    manifest = parse_manifest(
        'key = "receipt-2"\nname = "Receipt"\nfrom = "Shop <shop@example.com>"\n'
        'reply_to = "help@example.com"\nmessage_class = "transactional"\n'
        "[variables]\nrate = 0.2\nitems = [{name = 'x', new = true}]\n"
    )

    assert manifest == Manifest(
        key="receipt-2",
        name="Receipt",
        from_="Shop <shop@example.com>",
        reply_to="help@example.com",
        message_class=MessageClass.TRANSACTIONAL,
        variables={"rate": 0.2, "items": [{"name": "x", "new": True}]},
    )


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("key =", "Invalid value (at end of document)"),
        ("", "'key' must be small letters, digits and single - or _ between them"),
        ('key = "Big Key"', "'key' must be small letters, digits and single - or _ between them"),
        ("key = 3", "'key' must be one line of text"),
        (
            'key = "k"\nsubjct = "x"',
            "'subjct' is not known here; known are "
            "key, name, from, reply_to, message_class, variables",
        ),
        (
            'key = "k"\nfrom = "nobody"',
            "'from' must be an address like \"Name <name@example.org>\"",
        ),
        ('key = "k"\nfrom = "a@b.org\\r\\nBcc: x@y.org"', "'from' must be one line of text"),
        (
            'key = "k"\nmessage_class = "bulk"',
            "'message_class' must be 'marketing' or 'transactional'",
        ),
        ('key = "k"\nvariables = 3', "'variables' must be a table: [variables]"),
        ('key = "k"\n[variables]\n_x = 1', "'_x' cannot be the name of a variable"),
        ('key = "k"\n[variables]\nloop = 1', "'loop' cannot be the name of a variable"),
        ('key = "k"\n[variables]\n"a b" = 1', "'a b' cannot be the name of a variable"),
        (
            'key = "k"\n[variables]\nx = [{on = 2026-11-21}]',
            "'x[0].on' is a date or time; write it as text, as it should be read",
        ),
        (
            'key = "k"\n[variables]\nx = [[[[[[[[[1]]]]]]]]]',
            "'x[0][0][0][0][0][0][0][0]' is nested too deeply",
        ),
    ],
)
def test_a_wrong_manifest_is_refused_with_a_sentence(toml: str, sentence: str) -> None:
    with pytest.raises(TemplateRefused) as refusal:
        parse_manifest(toml)

    assert str(refusal.value) == f"template.toml: {sentence}"


def test_missing_names_are_those_required_and_unknown() -> None:
    template = compile_template(
        TemplateSource(subject="{{ b }}", text="{{ a }} {{ email }} {{ c|default('') }}")
    )

    assert missing_names(template, [*BUILT_IN_NAMES, "b"]) == ["a"]
    assert template.names == {"a", "b", "c", "email"}


def test_the_newsletter_needs_nothing_its_manifest_does_not_have() -> None:
    manifest = parse_manifest(read("template.toml"))

    assert missing_names(newsletter(), ["email", "unsubscribe_url", *manifest.variables]) == []
    assert manifest.from_.endswith("example.com>")


def test_every_invented_person_gets_the_newsletter() -> None:
    manifest = parse_manifest(read("template.toml"))
    fast, reference = newsletter(), newsletter(RunnerKind.SANDBOX)
    skeleton = fast.skeleton()
    refused = []

    for number, person in enumerate(people()):
        present = {name: value for name, value in person.items() if value}
        context = {
            **manifest.variables,
            **present,
            "unsubscribe_url": "https://x.example/u?a=1&b=2",
        }
        context.setdefault("email", "nobody@example.com")
        if not person["first_name"].isprintable() and "\t" in person["first_name"]:
            refused.append(number)
            continue
        slots = fast.slots(context)
        if number % 50 == 7:
            expected = reference.render(context)
            texts = [skeleton.subject, skeleton.html, skeleton.text]
            for key, slot in zip(skeleton.keys, slots, strict=True):
                texts = [text.replace(key, slot) for text in texts]
            assert Rendered(subject=texts[0], html=texts[1], text=texts[2]) == expected
            assert fast.render(context) == expected
            assert "<script>alert" not in expected.html

    assert len(refused) < 10


def test_the_invented_people_are_those_the_script_makes(tmp_path: Path) -> None:
    make_people.write(tmp_path)

    for name in ("people.csv", "suppressions.csv"):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


def test_the_invented_people_are_as_many_as_promised() -> None:
    rows = people()
    good = {row["external_id"]: row for row in rows if not row["external_id"].startswith("bad-")}
    addresses = {row["email"] for row in good.values()}

    assert len(rows) == make_people.PEOPLE + make_people.DUPLICATES + len(make_people.INVALID)
    assert len(good) == len(addresses) == make_people.PEOPLE
    assert sum(row["subscribed"] == "no" for row in good.values()) == make_people.UNSUBSCRIBED
    assert all(
        address.endswith(("example.com", "example.net", "example.org")) for address in addresses
    )
