"""What the template language takes, what it refuses and with which sentence."""

from __future__ import annotations

import pytest

from domain.template_errors import TemplateRefused
from domain.template_language import MAX_SOURCE, Part, check

OUTSIDE = "are not part of Carillon's template language"
NO_PART = "is not part of Carillon's template language"

ACCEPTED = [
    "plain text",
    "{{ name }}",
    "{{ person.name }}{{ person['name'] }}{{ people[0].name }}{{ people[n] }}",
    "{% if a %}x{% elif b %}y{% else %}z{% endif %}",
    "{% for x in items %}{{ loop.index }}{{ loop.last }}{{ loop.length }}{% else %}none{% endfor %}",
    "{% for k, v in mapping|items %}{{ k }}{% endfor %}",
    "{% for x in items if x.price < 10 %}{{ x.name }}{% endfor %}",
    "{% for x in range(1, 10, 2) %}{{ x }}{% endfor %}",
    "{% set total = price * 2 + 1 %}{{ total // 3 % 2 - -1 / 2 }}",
    "{{ 'a' ~ b ~ 3 }}{{ a if b else c }}{{ a and b or not c }}{{ 1 < a <= 3 }}{{ 'x' in y }}",
    "{{ [1, 2, (3, 4), {'a': b}] | length }}",
    "{{ name|default('you')|upper|truncate(length=9, end='…') }}",
    "{{ items|map(attribute='price')|sum }}{{ items|selectattr('price', 'gt', 3)|length }}",
    "{% if x is defined and x is not none and x is divisibleby 3 %}{{ x }}{% endif %}",
    "{# a comment #}{% raw %}{{ not run }}{% endraw %}",
    "{%- if a -%} trimmed {%- endif -%}",
]

REFUSED = [
    ("{% macro m() %}{% endmacro %}", f"macro definitions {OUTSIDE}"),
    ("{% call m() %}{% endcall %}", f"call blocks {OUTSIDE}"),
    ("{% filter upper %}x{% endfilter %}", f"filter blocks {OUTSIDE}"),
    ("{% with a=1 %}{% endwith %}", f"with blocks {OUTSIDE}"),
    ("{% block b %}{% endblock %}", f"blocks (template inheritance) {OUTSIDE}"),
    ("{% extends 'x' %}", f"extends (template inheritance) {OUTSIDE}"),
    ("{% include 'x' %}", f"includes {OUTSIDE}"),
    ("{% import 'x' as y %}", f"imports {OUTSIDE}"),
    ("{% from 'x' import y %}", f"imports {OUTSIDE}"),
    ("{% set x %}y{% endset %}", f"set blocks {OUTSIDE}"),
    ("{% autoescape false %}{{ x }}{% endautoescape %}", f"autoescape blocks {OUTSIDE}"),
    ("{% set n.x = 1 %}", "set takes one variable and its value"),
    ("{% set a, b = 1, 2 %}", "set takes one variable and its value"),
    ("{{ 2 ** 8 }}", f"powers (**) {OUTSIDE}"),
    ("{{ name[1:3] }}", f"slices {OUTSIDE}"),
    ("{{ name.upper() }}", f"method calls like .upper() {OUTSIDE}"),
    ("{{ ''.__class__ }}", "'__class__': names that start with '_' are not allowed"),
    ("{{ x['__class__'] }}", "'__class__': names that start with '_' are not allowed"),
    ("{{ _budget }}", "'_budget': names that start with '_' are not allowed"),
    ("{{ lipsum(9) }}", f"calls of anything but range() {OUTSIDE}"),
    ("{{ dict(a=1) }}", f"calls of anything but range() {OUTSIDE}"),
    ("{{ range }}", "'range' cannot be the name of a variable"),
    ("{{ self }}", "'self' cannot be the name of a variable"),
    ("{{ range() }}", "range does not take these arguments"),
    ("{{ range(stop=3) }}", "range does not take these arguments"),
    ("{{ range(*x) }}", f"arguments with * and ** {OUTSIDE}"),
    ("{{ name|safe }}", f"the filter 'safe' {NO_PART}"),
    ("{{ name|attr('x') }}", f"the filter 'attr' {NO_PART}"),
    ("{{ name|format(1) }}", f"the filter 'format' {NO_PART}"),
    ("{{ name|center(9) }}", f"the filter 'center' {NO_PART}"),
    ("{{ name|upper(1) }}", "the filter 'upper' does not take these arguments"),
    ("{{ name|upper(budget=1) }}", "the filter 'upper' does not take these arguments"),
    ("{{ x|map('upper') }}", "the filter 'map' does not take these arguments"),
    (
        "{{ x|default('', boolean=1, boolean=1) }}",
        "the filter 'default' is given an argument twice",
    ),
    ("{{ x is sameas y }}", f"the test 'sameas' {NO_PART}"),
    ("{{ x is divisibleby }}", "the test 'divisibleby' does not take these arguments"),
    ("{{ 'x' if a }}", "an inline 'if' needs its 'else'"),
    ("{{ loop.index }}", "'loop' is only known inside a for loop"),
    ("{% for x in y if loop.first %}{% endfor %}", "'loop' is only known inside a for loop"),
    (
        "{% for x in y %}{{ loop }}{% endfor %}",
        "'loop' can only be used as loop.index and the like",
    ),
    ("{% for x in y %}{{ loop.changed }}{% endfor %}", f"loop.changed {NO_PART}"),
    ("{% for x in y recursive %}{% endfor %}", f"recursive loops {OUTSIDE}"),
    (
        "{% for a, (b, c) in y %}{% endfor %}",
        "a loop takes one variable, or several with commas between them",
    ),
    ("{% for loop in y %}{% endfor %}", "'loop' can only be used as loop.index and the like"),
    (
        "{% for x in y %}{{ a }}{% endfor %}{% set a = 1 %}",
        "'a' is set after a loop that reads it; set it before",
    ),
    ("{{ 1e999 }}", "a number is too large"),
    ("{{ '\\ud800' }}", "a text holds half a surrogate pair"),
    ("{{ ﬁ }}", "'ﬁ': the name has characters with several forms"),
    ("{% trans %}x{% endtrans %}", "Encountered unknown tag 'trans'"),
    ("{% do x %}", "Encountered unknown tag 'do'"),
    ("{{ name", "unexpected end of template, expected 'end of print statement'"),
    ("{{ " + "not " * 60 + "a }}", "it is nested too deeply"),
    ("{% for x in y %}" * 9 + "{% endfor %}" * 9, "more than 8 loops stand inside each other"),
    ("{{ a }}" * 10_001, "the template has more than 10000 elements"),
]


@pytest.mark.parametrize("source", ACCEPTED)
@pytest.mark.parametrize("part", list(Part))
def test_the_language_takes(source: str, part: Part) -> None:
    assert check(source, part=part).part is part


@pytest.mark.parametrize(("source", "sentence"), REFUSED)
def test_the_language_refuses_with_part_line_and_reason(source: str, sentence: str) -> None:
    with pytest.raises(TemplateRefused) as refusal:
        check("first line\n" + source, part=Part.HTML)

    assert str(refusal.value) == f"body.html line 2: {sentence}"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "it is nested too deeply"),
        ("{{ " + "9" * 5000 + " }}", "a number in it is too long"),
        ("x" * (MAX_SOURCE + 1), f"it is longer than {MAX_SOURCE} characters"),
        ("a\0b", "it holds NUL or half a surrogate pair, which is no text"),
        ("a\ud800b", "it holds NUL or half a surrogate pair, which is no text"),
    ],
)
def test_a_source_that_is_no_template_is_refused(source: str, sentence: str) -> None:
    with pytest.raises(TemplateRefused) as refusal:
        check(source, part=Part.TEXT)

    assert str(refusal.value) == f"body.txt: {sentence}"


@pytest.mark.parametrize(
    ("source", "names", "required"),
    [
        ("{{ a }}{{ b.c }}{{ d[e] }}", "a b d e", "a b d e"),
        ("{{ a|default('') }}{{ b|d(c) }}", "a b c", "c"),
        ("{{ a|default('') }}{{ a }}", "a", "a"),
        ("{{ a.b|default('') }}{{ c|upper|default('') }}", "a c", "a c"),
        ("{% if a is defined %}{{ a }}{% endif %}", "a", ""),
        ("{% if a is not defined %}x{% else %}{{ a }}{% endif %}", "a", ""),
        ("{% if a is undefined %}x{% elif b %}{{ a }}{% endif %}", "a b", "b"),
        ("{% if a is defined and a > 1 %}{{ a }}{% endif %}", "a", ""),
        ("{% if a is defined or b %}{{ a }}{% endif %}", "a b", "a b"),
        ("{% if not (a is undefined or b is undefined) %}{{ a }}{{ b }}{% endif %}", "a b", ""),
        ("{{ a if a is defined else b }}", "a b", "b"),
        ("{% if a|default('') %}{{ a }}{% endif %}", "a", ""),
        ("{% if a|default('x') %}{{ a }}{% endif %}", "a", "a"),
        ("{% set a = b %}{{ a }}", "b", "b"),
        ("{% if a is undefined %}{% set a = 1 %}{% endif %}{{ a }}", "a", ""),
        ("{% if b %}{% set a = 1 %}{% endif %}{{ a }}", "a b", "a b"),
        ("{% for x in xs %}{{ x }}{{ y }}{% else %}{{ x }}{% endfor %}", "x xs y", "x xs y"),
        ("{% for x in xs %}{% set y = x %}{% endfor %}{{ y }}", "xs y", "xs y"),
        ("{% for k, v in m|items %}{{ k ~ v }}{% endfor %}", "m", "m"),
        ("{% for x in xs if x.a and b %}{{ loop.index }}{% endfor %}", "b xs", "b xs"),
    ],
)
def test_names_that_are_always_guarded_are_not_required(
    source: str, names: str, required: str
) -> None:
    checked = check(source, part=Part.TEXT)

    assert sorted(checked.names) == names.split()
    assert sorted(checked.required) == required.split()
