"""What may begin a link: threat 4, `javascript:` in an attribute that a browser follows."""

from __future__ import annotations

import pytest

from domain.template_errors import RenderFailed
from domain.template_links import FILTER
from domain.template_render import CompiledTemplate, RunnerKind, TemplateSource, compile_template

RUNNERS = list(RunnerKind)


def html(source: str, runner: RunnerKind = RunnerKind.COMPILED) -> CompiledTemplate:
    return compile_template(TemplateSource(subject="S", html=source), runner=runner)


def rendered(source: str, **context: object) -> str:
    """The HTML, which whole messages and merged ones agree on in both runners."""
    found = set()
    for runner in RUNNERS:
        template = html(source, runner)
        merged = template.skeleton().html
        for key, slot in zip(template.skeleton().keys, template.slots(context), strict=True):
            merged = merged.replace(key, slot)
        found |= {template.render(context).html, merged}
    (one,) = found
    return one


def is_refused(source: str, **context: object) -> bool:
    """Whether each way to make the message refuses it."""
    refusals = []
    for runner in RUNNERS:
        template = html(source, runner)
        for make in (template.render, template.slots):
            try:
                make(dict(context))
            except RenderFailed as error:
                assert "link" in str(error)
                refusals.append(True)
            else:
                refusals.append(False)
    assert len(set(refusals)) == 1
    return refusals[0]


@pytest.mark.parametrize(
    "value",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " \tjavascript:alert(1)",
        "java\nscript:alert(1)",
        "java\0script:alert(1)",
        "\x01javascript:alert(1)",
        "java\u200bscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox",
        "file:///etc/passwd",
        "javascript:",
    ],
)
def test_threat_4_a_value_that_begins_a_link_with_another_scheme_is_refused(value: str) -> None:
    assert is_refused('<a href="{{ u }}">x</a>', u=value)


@pytest.mark.parametrize(
    "value",
    [
        "https://x.org/?a:b",
        "HTTP://x.org",
        "mailto:ada@example.org",
        "tel:+43123",
        "/path:with/colon",
        "?q=a:b",
        "#a:b",
        "page.html",
        "a/b:c",
        "//x.org",
        "50% off: now",
        "",
        7,
    ],
)
def test_a_value_with_a_usual_scheme_or_none_is_printed_as_ever(value: object) -> None:
    plain = rendered("<p>{{ u }}</p>", u=value).removeprefix("<p>").removesuffix("</p>")

    assert rendered('<a href="{{ u }}">x</a>', u=value) == f'<a href="{plain}">x</a>'


@pytest.mark.parametrize(
    "source",
    [
        "<a href='{{ u }}'>",
        "<a href={{ u }}>",
        '<A HREF = " {{ u }}">',
        '<a class="b"href="{{ u }}">',
        '<img alt="a" src="{{ u }}">',
        '<form action="{{ u }}">',
        '<button formaction="{{ u }}">',
        '<svg><a xlink:href="{{ u }}">',
        '<a href="{% if n %}{{ u }}{% else %}/{% endif %}">',
        '<a href="{% if n %}https:{% else %}{{ u }}{% endif %}{{ u }}">',
        '<a {% if n %}href{% else %}title{% endif %}="{{ u }}">',
        '<a hr{% if n %}ef{% endif %}="{{ u }}">',
        '<a href="{% for x in [1] %}{{ u }}{% endfor %}">',
        '{% for x in [1, 2] %}"><a href="{{ u }}{% endfor %}',
        '<a href="{{ empty }}{{ u }}">',
        "<a href={{ empty }} {{ u }}>",
        '<a href="{% set v = u %}{{ v }}">',
        '<a href="{{ u|e }}">',
        '<a href="{{ u if n else u }}">',
        """<!--[if mso]><v:rect href="{{ u }}"><![endif]-->""",
        "<a href=\"{{ 'javascript:x' }}\">",
    ],
)
def test_wherever_a_link_may_begin_its_value_is_looked_at(source: str) -> None:
    assert is_refused(source, u="javascript:x", n=1, empty="")


@pytest.mark.parametrize(
    "source",
    [
        "<p>{{ u }}</p>",
        '<a title="{{ u }}">',
        '<a data-href="{{ u }}">',
        '<a href="https://x.org/{{ u }}">',
        '<a href="/?q={{ u }}">',
        '<a href="https://x.org/" title="{{ u }}">',
        '<a href="https://x.org/">{{ u }}</a>',
    ],
)
def test_elsewhere_nothing_is_looked_at(source: str) -> None:
    assert "javascript:x" in rendered(source, u="javascript:x", n=1)
    (runner,) = html(source)._bodies
    assert f"f_{FILTER}(" not in runner.source  # type: ignore[attr-defined]


def test_text_and_subject_have_no_links_to_look_at() -> None:
    said = 'href="{{ u }}"'
    made = compile_template(TemplateSource(subject=said, text=said)).render({"u": "javascript:x"})

    assert (made.subject, made.text) == ('href="javascript:x"',) * 2


def test_what_constants_begin_a_link_with_is_looked_at_too() -> None:
    source = TemplateSource(subject="S", html='<a href="{{ u }}">{{ name }}</a>')

    with pytest.raises(RenderFailed):
        compile_template(source, constants={"u": "javascript:x"}).render(
            {"u": "javascript:x", "name": "Ada"}
        )


def test_a_template_of_many_branches_and_loops_is_compiled_in_a_bounded_number_of_looks() -> None:
    nested = '<a href="{{ u }}'
    for _ in range(8):
        nested = f"{{% for x in [1] %}}hr{{% if n %}}ef{{% endif %}}={nested}{{% endfor %}}"

    assert is_refused(nested + "{% if n %} a {% else %}='{% endif %}" * 500, u="data:,x", n=1)
