"""A template as a folder: `template.toml`, `subject.txt`, `body.html`, `body.txt`.

Files are read elsewhere (the CLI); here their texts are understood and found faults are told in one
sentence. A message's context holds, later ones winning: the manifest's [variables], the send's
variables, the recipient's attributes, the built-in names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr

from domain.send import MessageClass
from domain.template_errors import TemplateRefused
from domain.template_language import RESERVED
from domain.template_render import CompiledTemplate
from domain.template_values import Value

MANIFEST_FILE = "template.toml"
BUILT_IN_NAMES = (
    "email",
    "first_name",
    "last_name",
    "locale",
    "time_zone",
    "external_id",
    "phone",
    "unsubscribe_url",
)
"""Names of every context; a recipient's attribute of such a name is not seen by templates.

Leave a name out of the context where the recipient has no value for it: then `default` works.
"""

_TEXTS = {"key": "", "name": "", "from": "", "reply_to": "", "message_class": "marketing"}
_KEY = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+\.[^\s@<>,;]+")
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `template.toml` says."""

    key: str
    """The template's name in commands and in the database."""
    name: str
    """Its name for people; the key where none is given."""
    from_: str = ""
    """The sender, "Name <a@b.org>" or a bare address; empty: the setting's default."""
    reply_to: str = ""
    message_class: MessageClass = MessageClass.MARKETING
    variables: Mapping[str, Value] = field(default_factory=dict)
    """Values for names that neither the send nor the recipient has."""


def parse_manifest(toml_text: str) -> Manifest:
    """The manifest. Raises TemplateRefused with a sentence that names what is wrong."""
    try:
        return manifest_of(tomllib.loads(toml_text))
    except (tomllib.TOMLDecodeError, TemplateRefused) as error:
        raise TemplateRefused(f"{MANIFEST_FILE}: {error}") from error


def manifest_of(given: Mapping[str, object]) -> Manifest:
    """The manifest that these values say. Raises TemplateRefused."""
    unknown = sorted(given.keys() - _TEXTS.keys() - {"variables"})
    if unknown:
        known = ", ".join([*_TEXTS, "variables"])
        raise TemplateRefused(f"'{unknown[0]}' is not known here; known are {known}")
    texts = {name: _text(given, name) for name in _TEXTS}
    if len(texts["key"]) > 100 or not _KEY.fullmatch(texts["key"]):
        raise TemplateRefused("'key' must be small letters, digits and single - or _ between them")
    return Manifest(
        key=texts["key"],
        name=texts["name"] or texts["key"],
        from_=_address(texts, "from"),
        reply_to=_address(texts, "reply_to"),
        message_class=_message_class(texts["message_class"]),
        variables=_variables(given.get("variables", {})),
    )


def missing_names(template: CompiledTemplate, known: Collection[str]) -> list[str]:
    """Names the template requires that nobody in the send has: a reason to refuse the send."""
    return sorted(template.required - set(known))


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(name, _TEXTS[name])
    if not isinstance(value, str) or not (value.isprintable() or value == ""):
        raise TemplateRefused(f"'{name}' must be one line of text")
    return value.strip()


def _address(texts: Mapping[str, str], name: str) -> str:
    """The address, shaped like one; whether it may send is the provider's to say."""
    text = texts[name]
    if text and not _ADDRESS.fullmatch(parseaddr(text)[1]):
        raise TemplateRefused(f"'{name}' must be an address like \"Name <name@example.org>\"")
    return text


def _message_class(text: str) -> MessageClass:
    try:
        return MessageClass(text)
    except ValueError as error:
        raise TemplateRefused("'message_class' must be 'marketing' or 'transactional'") from error


def _variables(given: object) -> dict[str, Value]:
    if not isinstance(given, dict):
        raise TemplateRefused("'variables' must be a table: [variables]")
    for name, value in given.items():
        if not name.isidentifier() or name.startswith("_") or name in RESERVED:
            raise TemplateRefused(f"'{name}' cannot be the name of a variable")
        _refuse_unplain(name, value, _MAX_DEPTH)
    return given


def _refuse_unplain(path: str, value: object, depth: int) -> None:
    """Refuse what templates cannot print: dates and times, and nesting without end."""
    if depth == 0:
        raise TemplateRefused(f"'{path}' is nested too deeply")
    if isinstance(value, dict):
        for key, member in value.items():
            _refuse_unplain(f"{path}.{key}", member, depth - 1)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _refuse_unplain(f"{path}[{index}]", member, depth - 1)
    elif not isinstance(value, str | int | float):
        raise TemplateRefused(f"'{path}' is a date or time; write it as text, as it should be read")
