"""SendGrid's validation of a v3 mail/send body: every problem it names, with the field it names.

From the API reference's pages "Mail Send errors" and "limitations". It runs over a thousand people
in a few milliseconds, so the walk over people is written for speed and problems are made on the
slow path alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from simulator.addresses import is_refused, is_valid

MAX_PERSONALIZATIONS = 1000
MAX_RECIPIENTS = 1000
MAX_SUBSTITUTION_BYTES = 50_000
MAX_CUSTOM_ARGS_BYTES = 10_000
MAX_CATEGORIES = 10
MAX_CATEGORY_CHARACTERS = 255
RECIPIENT_FIELDS = ("to", "cc", "bcc")
RESERVED_HEADERS = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    }
)
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message."
CONTENT_RANKS = {"text/plain": 0, "text/html": 1}
PERSON_FIELDS = {"substitutions", "custom_args", "headers", "subject"}


class Problem(NamedTuple):
    """One entry of `errors`."""

    message: str
    field: str | None = None
    help: str | None = None


def _problem(message: str, field: str) -> Problem:
    parts = [part for part in field.split(".") if not part.isdigit()]
    return Problem(message, field, HELP + ".".join(parts[:2]))


def errors_body(*problems: Problem) -> bytes:
    """The JSON that SendGrid answers with."""
    return orjson.dumps({"errors": [problem._asdict() for problem in problems]})


class Validation:
    """One pass over one body; `problems` is empty when SendGrid would take it."""

    def __init__(self, payload: object, refused: frozenset[str]) -> None:
        """`refused`: addresses, in lower case, that are valid but not taken."""
        self.problems: list[Problem] = []
        self.recipients = 0
        self.refused: list[str] = []
        """Well-formed addresses, in lower case, that were not taken."""
        self._refused = refused
        if isinstance(payload, dict):
            self._check_sender(payload)
            self._check_people(payload)
            self._check_content(payload)
            self._check_whole(payload)
        else:
            self.problems.append(Problem("Bad Request"))

    def _note(self, message: str, field: str) -> None:
        self.problems.append(_problem(message, field))

    def _check_sender(self, payload: dict[str, Any]) -> None:
        sender = payload.get("from")
        if not isinstance(sender, dict) or not sender.get("email"):
            self._note(
                "The from object must be provided for every email send. It is an object that "
                "requires the email parameter, but may also contain a name parameter.",
                "from.email",
            )
        elif not is_valid(sender["email"]):
            self._note("The from email does not contain a valid address.", "from.email")
        reply_to = payload.get("reply_to")
        if reply_to is not None and not (
            isinstance(reply_to, dict) and is_valid(reply_to.get("email"))
        ):
            self._note("The reply_to email does not contain a valid address.", "reply_to.email")

    def _check_people(self, payload: dict[str, Any]) -> None:
        people = payload.get("personalizations")
        if not isinstance(people, list) or not people:
            self._note(
                "The personalizations field is required and must have at least one "
                "personalization.",
                "personalizations",
            )
            return
        if len(people) > MAX_PERSONALIZATIONS:
            self._note(
                f"The number of personalizations may not exceed {MAX_PERSONALIZATIONS}.",
                "personalizations",
            )
            return
        shared_args_bytes = _bytes_of(payload.get("custom_args") or {}) or 0
        for index, person in enumerate(people):
            if type(person) is dict:
                self._check_person(index, person, shared_args_bytes)
            else:
                self._note("Each personalization must be an object.", f"personalizations.{index}")
        if self.recipients > MAX_RECIPIENTS:
            self._note(
                f"The total number of recipients may not exceed {MAX_RECIPIENTS}.",
                "personalizations",
            )

    def _check_person(self, index: int, person: dict[str, Any], shared_args_bytes: int) -> None:
        to = person.get("to")
        if type(to) is not list or not to:
            self._note(
                "The to array is required for all personalization objects, and must have at "
                "least one email object with a valid email address.",
                f"personalizations.{index}.to",
            )
            return
        if len(to) == 1 and "cc" not in person and "bcc" not in person:
            self.recipients += 1
            entry = to[0]
            if (
                type(entry) is not dict
                or not is_valid(entry.get("email"))
                or is_refused(entry["email"], self._refused)
                or "name" in entry
            ):
                self._check_recipients(index, person)
        else:
            self.recipients += sum(1 for _ in _entries(person))
            self._check_recipients(index, person)
        if not PERSON_FIELDS.isdisjoint(person):
            self._check_person_fields(index, person, shared_args_bytes)

    def _check_recipients(self, index: int, person: dict[str, Any]) -> None:
        seen: set[str] = set()
        for place, entry in _entries(person):
            field = f"personalizations.{index}.{place}"
            address = entry.get("email") if isinstance(entry, dict) else None
            if not isinstance(address, str) or not is_valid(address):
                self._note("Does not contain a valid address.", f"{field}.email")
                continue
            lower = address.lower()
            if is_refused(lower, self._refused):
                self.refused.append(lower)
                self._note("Does not contain a valid address.", f"{field}.email")
            if lower in seen:
                self._note(
                    "Each email address in the personalization block should be unique between "
                    f"to, cc, and bcc. We found the first duplicate instance of [{address}] in "
                    f"the {field.rpartition('.')[0]} field.",
                    f"personalizations.{index}",
                )
            seen.add(lower)
            name = entry.get("name", "")
            if not isinstance(name, str) or ";" in name or "," in name:
                self._note("The name may not contain ; or , characters.", f"{field}.name")

    def _check_person_fields(
        self, index: int, person: dict[str, Any], shared_args_bytes: int
    ) -> None:
        field = f"personalizations.{index}"
        if "substitutions" in person:
            size = _bytes_of(person["substitutions"])
            if size is None:
                self._note("The substitutions must be strings.", f"{field}.substitutions")
            elif size > MAX_SUBSTITUTION_BYTES:
                self._note(
                    "The total collective size of your substitutions may not exceed "
                    f"{MAX_SUBSTITUTION_BYTES} bytes per personalization object.",
                    f"{field}.substitutions",
                )
        if "custom_args" in person:
            self._check_custom_args(
                person["custom_args"], f"{field}.custom_args", shared_args_bytes
            )
        if "headers" in person:
            self._check_headers(person["headers"], f"{field}.headers")
        if "subject" in person and not _is_text(person["subject"]):
            self._note("The subject must be a string of one character or more.", f"{field}.subject")

    def _check_custom_args(self, custom_args: object, field: str, shared_bytes: int) -> None:
        size = _bytes_of(custom_args)
        if size is None:
            self._note("The custom_args must be strings.", field)
        elif size + shared_bytes > MAX_CUSTOM_ARGS_BYTES:
            self._note(
                f"The custom_args may not exceed {MAX_CUSTOM_ARGS_BYTES} bytes per "
                "personalization.",
                field,
            )

    def _check_headers(self, headers: object, field: str) -> None:
        if _bytes_of(headers) is None or not isinstance(headers, dict):
            self._note("The headers must be strings.", field)
            return
        for name, value in headers.items():
            if name.lower() in RESERVED_HEADERS:
                self._note(f"The header '{name}' is reserved and cannot be set.", f"{field}.{name}")
            elif not name.isascii() or not name.isprintable() or "\n" in value or "\r" in value:
                self._note("The header has characters that no header may have.", field)

    def _check_content(self, payload: dict[str, Any]) -> None:
        people, content = payload.get("personalizations"), payload.get("content")
        subject, has_template = payload.get("subject"), bool(payload.get("template_id"))
        has_subjects = isinstance(people, list) and all(
            isinstance(person, dict) and person.get("subject") for person in people
        )
        is_optional = has_template or has_subjects
        if not _is_text(subject) and not (is_optional and subject in (None, "")):
            self._note(
                "The subject is required. You can get around this requirement if you use a "
                "template with a subject defined or if every personalization has a subject "
                "defined.",
                "subject",
            )
        if isinstance(content, list) and content:
            self._check_parts(content)
        elif content is not None or not has_template:
            self._note(
                "Unless a valid template_id is provided, the content parameter is required. "
                "There must be at least one defined content block.",
                "content",
            )

    def _check_parts(self, content: list[Any]) -> None:
        kinds = []
        for index, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else None
            if not isinstance(kind, str) or "/" not in kind:
                self._note("The content type is required.", f"content.{index}.type")
                continue
            kinds.append(kind.lower())
            if not isinstance(part, dict) or not _is_text(part.get("value")):
                self._note(
                    "The content value must be a string at least one character in length.",
                    f"content.{index}.value",
                )
        ranks = [CONTENT_RANKS.get(kind, len(CONTENT_RANKS)) for kind in kinds]
        if ranks != sorted(ranks) or any(ranks.count(rank) > 1 for rank in CONTENT_RANKS.values()):
            self._note(
                "If present, text/plain and text/html may only be provided once each and must "
                "be the first content, text/plain before text/html.",
                "content",
            )

    def _check_whole(self, payload: dict[str, Any]) -> None:
        if "custom_args" in payload:
            self._check_custom_args(payload["custom_args"], "custom_args", 0)
        if "headers" in payload:
            self._check_headers(payload["headers"], "headers")
        categories = payload.get("categories")
        if categories is None:
            return
        if not isinstance(categories, list) or len(categories) > MAX_CATEGORIES:
            self._note(f"There may be at most {MAX_CATEGORIES} categories.", "categories")
        elif not all(_is_text(c) and len(str(c)) <= MAX_CATEGORY_CHARACTERS for c in categories):
            self._note(
                f"A category is a string of at most {MAX_CATEGORY_CHARACTERS} characters.",
                "categories",
            )


def _entries(person: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every recipient of a personalization with its place, "to.0"; what is no list is one wrong one."""
    for field in RECIPIENT_FIELDS:
        entries = person.get(field, ())
        if isinstance(entries, list | tuple):
            for index, entry in enumerate(entries):
                yield f"{field}.{index}", entry
        else:
            yield f"{field}.0", None


def _bytes_of(strings: object) -> int | None:
    """UTF-8 bytes of an object's keys and values together; None unless all are strings."""
    if not isinstance(strings, dict):
        return None
    try:
        whole = "".join(strings) + "".join(strings.values())
    except TypeError:
        return None
    return len(whole) if whole.isascii() else len(whole.encode())


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""
