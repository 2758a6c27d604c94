"""The inbox: shows what came, escapes all of it, and runs none of it."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx
import pytest

from tests.simulator.simulator_process import SimulatorProcess, a_body, a_message, a_person, people

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"


class Tags(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def page(simulator: SimulatorProcess, path: str = "/") -> httpx.Response:
    answer = simulator.client.get(simulator.inbox_url + path)
    answer.raise_for_status()
    return answer


def test_an_empty_inbox_says_so(simulator: SimulatorProcess) -> None:
    assert "Nothing received yet" in page(simulator).text


def test_lists_the_newest_first_with_both_providers(simulator: SimulatorProcess) -> None:
    simulator.send(a_body(a_person("first@example.com")))
    with simulator.smtp() as talk:
        talk.deliver(a_message("By SMTP"), "second@example.com")

    html = page(simulator).text

    assert 0 < html.index("second@example.com") < html.index("first@example.com")
    assert "By SMTP" in html


def test_a_hostile_subject_and_body_stay_text(simulator: SimulatorProcess) -> None:
    content = [{"type": "text/plain", "value": HOSTILE}, {"type": "text/html", "value": HOSTILE}]
    person = a_person(substitutions={"-n-": HOSTILE}, headers={"X-Name": HOSTILE})
    simulator.send(a_body(person, subject="-n-", content=content))

    for path in ("/", "/messages/1"):
        answer = page(simulator, path)
        tags = Tags(answer.text)
        assert [tag.get("src") for tag in tags.named("script")] in ([], ["/inbox.js"])
        assert tags.named("img") == []
        assert "{{ 7*7 }}" in answer.text
        assert "<script>alert" not in answer.text


def test_a_messages_html_is_in_a_sandboxed_frame_under_a_strict_policy(
    simulator: SimulatorProcess,
) -> None:
    html = '<p class="a">Hi -n-</p>'
    person = a_person(substitutions={"-n-": "Anna & Bo"})
    simulator.send(a_body(person, content=[{"type": "text/html", "value": html}]))

    answer = page(simulator, "/messages/1")
    (frame,) = Tags(answer.text).named("iframe")

    assert frame["sandbox"] == ""
    assert frame["srcdoc"] == '<p class="a">Hi Anna & Bo</p>'
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_the_html_alone_is_inert(simulator: SimulatorProcess) -> None:
    simulator.send(a_body(content=[{"type": "text/html", "value": HOSTILE}]))

    answer = page(simulator, "/messages/1/html")

    assert answer.text == HOSTILE
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src https: data:;")


def test_shows_the_parts_of_an_smtp_message(simulator: SimulatorProcess) -> None:
    parts = (
        'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
        "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<b>Grüße</b>\r\n--b--\r\n"
    )
    message = b"Subject: Parts\r\nList-Unsubscribe: <https://example.org/u>\r\n" + parts.encode()
    with simulator.smtp() as talk:
        talk.deliver(message)

    shown = simulator.client.get(f"{simulator.inbox_url}/api/messages/1").json()

    assert (shown["text"], shown["html"]) == ("Grüße", "<b>Grüße</b>")
    assert ["List-Unsubscribe", "<https://example.org/u>"] in shown["headers"]
    assert ["RCPT TO", "anna@example.com"] in shown["headers"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r\n\r\n",
        b"Subject\r\n\r\nx\r\n",
        b"Content-Type: text/html; charset=no-such\r\n\r\nx\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
        b"Content-Type: multipart/alternative\r\n\r\nno boundary\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\n!!!\r\n",
        b"Subject: \xff\xfe\r\nTo: \xff\r\nDate: never\r\n\r\n\xff\r\n",
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n",
    ],
)
def test_shows_whatever_form_a_message_has(simulator: SimulatorProcess, message: bytes) -> None:
    with simulator.smtp() as talk:
        assert talk.deliver(message).startswith("250")

    assert page(simulator, "/messages/1").status_code == 200


def test_pages_through_what_is_kept_and_says_where_the_rest_is(simulator: SimulatorProcess) -> None:
    simulator.send(a_body(*people([f"p{number}@example.com" for number in range(1000)])))

    assert "p999@example.com" in page(simulator).text
    assert "p949@example.com" in page(simulator, "/?page=2").text
    assert "p500@example.com" in page(simulator, "/?page=10").text
    assert "received.jsonl" in page(simulator).text
    assert simulator.client.get(f"{simulator.inbox_url}/messages/1").status_code == 404


def test_filters_by_a_part_of_the_address(simulator: SimulatorProcess) -> None:
    simulator.send(a_body(*people(["anna@example.com", "bo@example.com"])))

    html = page(simulator, "/?to=BO@").text
    found = simulator.client.get(
        f"{simulator.inbox_url}/api/messages", params={"to": "anna"}
    ).json()

    assert "bo@example.com" in html
    assert "anna@example.com" not in html
    assert [message["to"] for message in found["messages"]] == ["anna@example.com"]


def test_stats_count_messages_and_requests(simulator: SimulatorProcess) -> None:
    simulator.send(a_body(*people(["a@example.com", "b@example.com"])))
    simulator.send(a_body(a_person("wrong")))
    with simulator.smtp() as talk:
        talk.deliver(a_message())

    stats = simulator.client.get(f"{simulator.inbox_url}/api/stats").json()

    assert (stats["received"], stats["requests"], stats["refused"]) == (3, 3, 1)
    assert stats["by_provider"] == {"sendgrid": 2, "smtp": 1}


def test_limit_bounds_the_list(simulator: SimulatorProcess) -> None:
    simulator.send(a_body(*people([f"p{number}@example.com" for number in range(10)])))

    newest = simulator.client.get(f"{simulator.inbox_url}/api/messages", params={"limit": 2}).json()

    assert [message["to"] for message in newest["messages"]] == ["p9@example.com", "p8@example.com"]


@pytest.mark.parametrize("path", ["/inbox.css", "/inbox.js"])
def test_style_and_script_are_served(simulator: SimulatorProcess, path: str) -> None:
    assert page(simulator, path).text
