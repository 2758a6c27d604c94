"""Substitutions, as journal lines and as what the inbox shows."""

from __future__ import annotations

from typing import Any

from simulator.sendgrid_merge import Acceptance, MergedRequest
from tests.simulator.simulator_process import a_body, a_person

ACCEPTANCE = Acceptance(at="2026-11-01T09:00:00.000000Z", account="abcdefgh", request_id="r1")


def merged(*people: dict[str, Any], **changes: object) -> MergedRequest:
    return MergedRequest(a_body(*people, **changes), ACCEPTANCE)


def test_a_line_holds_the_reference_the_subject_and_the_size_of_that_person() -> None:
    anna = a_person(substitutions={"-n-": "Änna"}, custom_args={"mid": "m1"})
    bo = a_person("bo@example.com", substitutions={"-n-": "Bo"}, custom_args={"mid": "m2"})
    content = [{"type": "text/html", "value": "é -n- and -n-"}]

    lines = merged(anna, bo, subject="Hi -n-!", content=content).lines

    assert [(line["message_id"], line["subject"], line["size"]) for line in lines] == [
        ("m1", "Hi Änna!", len("é Änna and Änna".encode())),
        ("m2", "Hi Bo!", len("é Bo and Bo".encode())),
    ]


def test_the_reference_of_the_request_serves_who_has_none() -> None:
    request = merged(a_person(custom_args={"mid": "own"}), a_person(), custom_args={"mid": "all"})

    assert [line["message_id"] for line in request.lines] == ["own", "all"]


def test_a_value_that_holds_a_key_is_not_replaced_again() -> None:
    person = a_person(substitutions={"-a-": "-b-", "-b-": "-a-"})

    assert merged(person, subject="-a--b-").lines[0]["subject"] == "-b--a-"


def test_the_longest_key_wins() -> None:
    person = a_person(substitutions={"%n": "short", "%name": "long"})

    assert merged(person, subject="%n %name").lines[0]["subject"] == "short long"


def test_people_with_other_keys_are_cut_for_themselves() -> None:
    people = (
        a_person(substitutions={"-a-": "A"}),
        a_person(substitutions={"-b-": "B"}),
        a_person(),
    )

    lines = merged(*people, subject="-a- -b-").lines

    assert [line["subject"] for line in lines] == ["A -b-", "-a- B", "-a- -b-"]


def test_an_own_subject_is_merged_too() -> None:
    person = a_person(subject="For -n-", substitutions={"-n-": "Anna"})

    assert merged(person).lines[0]["subject"] == "For Anna"


def test_every_recipient_of_a_personalization_has_a_line() -> None:
    person = a_person(cc=[{"email": "cc@example.com"}], bcc=[{"email": "bcc@example.com"}])

    request = merged(person, a_person("last@example.com"))

    addresses = ["anna@example.com", "cc@example.com", "bcc@example.com", "last@example.com"]
    assert [line["to"] for line in request.lines] == addresses
    assert dict(request.rendered(3).headers)["To"] == "last@example.com"


def test_a_message_is_rendered_with_headers_and_both_parts() -> None:
    person = a_person(
        substitutions={"-n-": "Anna"},
        custom_args={"mid": "m1"},
        headers={"List-Unsubscribe": "<https://example.org/-n->"},
    )
    content = [{"type": "text/plain", "value": "Hi -n-"}, {"type": "text/html", "value": "<p>-n-"}]
    attachments = [{"filename": "a.pdf", "content": "AAAA", "type": "application/pdf"}]

    rendered = merged(person, subject="-n-", content=content, attachments=attachments).rendered(0)

    assert (rendered.text, rendered.html) == ("Hi Anna", "<p>Anna")
    assert rendered.attachments == ["a.pdf"]
    headers = dict(rendered.headers)
    assert headers["Subject"] == "Anna"
    assert headers["From"] == "Sender <sender@example.org>"
    assert headers["List-Unsubscribe"] == "<https://example.org/Anna>"
    assert headers["custom_args.mid"] == "m1"
