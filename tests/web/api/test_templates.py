"""Templates over HTTP: published from JSON, never overwritten unseen, listed and rendered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx import Response

from tests.builders import scalar
from tests.web.api.conftest import Api, MakeApi

WELCOME: dict[str, Any] = {
    "key": "welcome",
    "name": "Welcome",
    "message_class": "transactional",
    "from": "Shop <shop@example.com>",
    "variables": {"shop": "Ours"},
    "content": {
        "email": {
            "subject": "Hello {{ first_name }}",
            "html": '<p>{{ code }} at {{ shop }}, <a href="https://example.com/a">here</a></p>',
            "locales": {"de": {"subject": "Hallo {{ first_name }}", "html": "<p>{{ code }}</p>"}},
        },
        "sms": {"text": "{{ code }}"},
    },
}


def publish(api: Api, body: dict[str, Any], if_match: str | None = None, key: str = "") -> Response:
    api.headers.pop("If-Match", None)
    if if_match is not None:
        api.headers["If-Match"] = if_match
    answer = api.post("/v1/templates", body, key=key)
    api.headers.pop("If-Match", None)
    return answer


def saying(text: str, **more: Any) -> dict[str, Any]:
    return {"key": "note", "content": {"sms": {"text": text}}, **more}


def test_a_version_is_published_and_read_back_as_it_was_given(api: Api) -> None:
    made = publish(api, WELCOME)
    found = api.get("/v1/templates/welcome")

    assert made.status_code == 201
    assert made.headers["etag"] == found.headers["etag"] == '"1"' == made.json()["etag"]
    assert made.json() == found.json()
    assert (found.json()["number"], found.json()["from"]) == (1, "Shop <shop@example.com>")
    email = found.json()["content"]["email"]
    assert email["subject"] == "Hello {{ first_name }}"
    assert email["locales"]["de"]["subject"] == "Hallo {{ first_name }}"
    assert found.json()["channels"] == ["email", "sms"]
    assert scalar(api.engine, "SELECT url FROM link") == "https://example.com/a"


def test_what_is_published_can_be_sent(shop: Api) -> None:
    publish(shop, WELCOME)

    sent = shop.post(
        "/v1/messages",
        {"template": "welcome@1", "to": "person-1", "variables": {"code": "17"}},
    )

    assert sent.status_code == 202


def test_nobody_replaces_a_version_that_they_have_not_seen(api: Api) -> None:
    publish(api, saying("one"))

    unseen = publish(api, saying("two"))
    seen = publish(api, saying("two"), '"1"')
    stale = publish(api, saying("three"), '"1"')
    knowing = publish(api, saying("three"), "*")

    assert [answer.status_code for answer in (unseen, seen, stale, knowing)] == [428, 201, 412, 201]
    assert "note@2" in stale.json()["detail"]
    assert knowing.json()["number"] == 3
    assert scalar(api.engine, "SELECT count(*) FROM template_version") == 3


def test_if_match_of_a_template_that_is_not_there_fails_and_makes_none(api: Api) -> None:
    answer = publish(api, saying("one"), '"1"')

    assert answer.status_code == 412
    assert api.get("/v1/templates/note").status_code == 404
    assert scalar(api.engine, "SELECT count(*) FROM template") == 0


def test_of_many_who_publish_at_once_one_succeeds(api: Api) -> None:
    def attempt(n: int, headers: dict[str, str]) -> Response:
        answer: Response = api.http.post(
            "/v1/templates",
            json=saying(f"text {n}"),
            headers={**api.headers, "Idempotency-Key": f"k{n}{headers}", **headers},
        )
        return answer

    with ThreadPoolExecutor(10) as pool:
        new = [answer.status_code for answer in pool.map(lambda n: attempt(n, {}), range(10))]
        next_ = [
            answer.status_code
            for answer in pool.map(lambda n: attempt(n + 10, {"If-Match": '"1"'}), range(10))
        ]

    assert sorted(new) == [201] + [428] * 9
    assert sorted(next_) == [201] + [412] * 9
    assert api.get("/v1/templates/note").json()["number"] == 2


def test_a_repeat_with_the_same_key_is_answered_although_the_version_is_there_now(
    api: Api,
) -> None:
    publish(api, saying("one"))
    first = publish(api, saying("two"), '"1"', key="k")
    again = publish(api, saying("two"), '"1"', key="k")

    assert again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["etag"] == '"2"'


def test_equal_content_is_the_version_there_is(api: Api) -> None:
    publish(api, saying("one"))

    same = publish(api, saying("one"), '"1"')

    assert same.json()["number"] == 1


def test_versions_are_listed_newest_first_and_each_can_be_read(api: Api) -> None:
    for n in range(1, 4):
        publish(api, saying(f"text {n}"), "*" if n > 1 else None)

    first = api.get("/v1/templates/note/versions?limit=2").json()
    rest = api.get(f"/v1/templates/note/versions?limit=2&cursor={first['next']}").json()
    old = api.get("/v1/templates/note/versions/1")

    assert [line["number"] for line in (*first["data"], *rest["data"])] == [3, 2, 1]
    assert old.json()["content"]["sms"]["text"] == "text 1"
    assert old.headers["etag"] == '"1"'
    for path in ("note/versions/4", "note/versions/x", "nothing", "nothing/versions"):
        assert api.get(f"/v1/templates/{path}").status_code == 404


def test_templates_are_listed_by_pages_each_with_its_newest_version(api: Api) -> None:
    for key in ("a", "b", "c"):
        publish(api, saying("one", key=key))
    publish(api, saying("two", key="a"), '"1"')

    first = api.get("/v1/templates?limit=2").json()
    rest = api.get(f"/v1/templates?limit=2&cursor={first['next']}").json()

    lines = [(line["key"], line["number"]) for line in (*first["data"], *rest["data"])]
    assert lines == [("c", 1), ("b", 1), ("a", 2)]


def test_a_version_is_rendered_with_data_for_a_channel_and_a_locale(api: Api) -> None:
    publish(api, WELCOME)

    def render(**asked: Any) -> dict[str, Any]:
        answer = api.post("/v1/templates/welcome/render", asked, key=None)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    email = render(data={"code": "<17>"})
    german = render(data={"code": 1, "first_name": "Eva"}, locale="de-AT", number=1)
    text = render(data={"code": "17"}, channel="sms")

    assert email["subject"] == "Hello Ada"
    assert email["html"].startswith("<p>&lt;17&gt; at Ours,")
    assert (german["subject"], german["locale"]) == ("Hallo Eva", "de")
    assert (text["text"], text["channel"], text["subject"]) == ("17", "sms", "")


@pytest.mark.parametrize(
    ("asked", "status", "pointer"),
    [
        ({}, 422, "/data"),
        ({"data": {"code": "1", "first_name": "A\nBcc: x"}}, 422, "/data"),
        ({"data": {"code": "1"}, "channel": "push"}, 422, "/channel"),
        ({"data": {"code": "1"}, "locale": "xx_yy"}, 422, "/locale"),
        ({"data": {"code": "1"}, "number": 9}, 404, None),
    ],
)
def test_what_cannot_be_rendered_is_said(
    api: Api, asked: dict[str, Any], status: int, pointer: str | None
) -> None:
    publish(api, WELCOME)

    answer = api.post("/v1/templates/welcome/render", asked, key=None)

    assert answer.status_code == status
    assert [one["pointer"] for one in answer.json().get("errors", [])] == (
        [] if pointer is None else [pointer]
    )


def test_threat_4_a_preview_shows_that_a_link_may_not_begin_so(api: Api) -> None:
    said = {"subject": "S", "html": '<a href="{{ u }}">x</a>'}
    publish(api, {"key": "linked", "from": "Shop <s@example.com>", "content": {"email": said}})

    refused, made = (
        api.post("/v1/templates/linked/render", {"data": {"u": u}}, key=None)
        for u in ("javascript:alert(1)", "https://example.org/?a:b")
    )

    assert (refused.status_code, refused.json()["type"]) == (
        422,
        "urn:carillon:problem:template-refused",
    )
    assert "a link may begin with http:" in refused.json()["detail"]
    assert made.json()["html"] == '<a href="https://example.org/?a:b">x</a>'


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"content": {}}, "/content"),
        ({"content": {"sms": {"text": ""}}}, "/content/sms"),
        ({"content": {"sms": {"text": "{{ a"}}}, "/content/sms"),
        ({"content": {"sms": {"text": "{% import 'x' as y %}"}}}, "/content/sms"),
        ({"content": {"email": {"text": "no subject"}}}, "/content/email"),
        ({"content": {"fax": {"text": "a"}}}, "/content/fax"),
        (
            {"content": {"sms": {"text": "a", "locales": {"xx-yy": {"text": "b"}}}}},
            "/content/sms/locales/xx-yy",
        ),
        (
            {
                "content": {
                    "in_app": {"text": "a", "locales": {"de": {"subject": "s", "text": "b"}}}
                }
            },
            "/content/in_app/locales/de/subject",
        ),
        (
            {
                "content": {
                    "sms": {
                        "text": "a",
                        "locales": {"de_AT": {"text": "b"}, "de-at": {"text": "c"}},
                    }
                }
            },
            "/content/sms/locales/de-at",
        ),
        ({"key": "No Key"}, "/key"),
        ({"from": "nobody"}, None),
        ({"from": "A <a@b.org>\nBcc: x"}, None),
        ({"variables": {"not a name": 1}}, None),
        ({"message_class": "spam"}, "/message_class"),
    ],
)
def test_a_template_that_is_not_acceptable_is_refused_with_its_pointer(
    api: Api, wrong: dict[str, Any], pointer: str | None
) -> None:
    answer = publish(api, saying("fine") | wrong)

    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json().get("errors", [])] == (
        [] if pointer is None else [pointer]
    )
    assert "template.toml" not in answer.text
    assert scalar(api.engine, "SELECT count(*) FROM template") == 0


def test_another_teams_templates_are_not_there_and_its_keys_are_its_own(
    api: Api, make_api: MakeApi
) -> None:
    publish(api, saying("ours"))
    other = make_api(team="other")

    for path in ("note", "note/versions", "note/versions/1"):
        assert other.get(f"/v1/templates/{path}").status_code == 404
    assert other.post("/v1/templates/note/render", {}, key=None).status_code == 404
    assert other.get("/v1/templates").json()["data"] == []
    assert publish(other, saying("theirs")).json()["number"] == 1
    assert api.get("/v1/templates/note").json()["content"]["sms"]["text"] == "ours"


def test_each_side_needs_its_scope(api: Api, make_api: MakeApi) -> None:
    publish(api, saying("one"))
    reader, writer = make_api(["templates:read"]), make_api(["templates:write"])

    assert reader.get("/v1/templates/note").status_code == 200
    assert publish(reader, saying("two"), '"1"').status_code == 403
    assert writer.get("/v1/templates").status_code == 403
    assert publish(writer, saying("two"), '"1"').status_code == 201
