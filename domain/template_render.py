"""Templates ready to send: whole messages, or a skeleton and each reader's slots.

`skeleton()` with `slots(context)` put in place of its keys is `render(context)`, byte for byte; the
two runners (compiled Python; Jinja's sandbox, the reference) give the same bytes as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import NoReturn

import jinja2
from jinja2 import nodes

from domain.template_compiler import CompiledRunner
from domain.template_errors import (
    HeaderRefused,
    MissingVariable,
    RenderFailed,
    TemplateError,
    TemplateRefused,
)
from domain.template_language import Checked, Part, check, is_unicode
from domain.template_names import names_in
from domain.template_sandbox import PartRunner, SandboxRunner, Values
from domain.template_split import Piece, Run, assigned, identity, one_piece, pieces, top
from domain.template_values import Budget

MAX_OUTPUT = 1_000_000
"""Characters of one rendered part."""
MAX_KEYS = 200
"""Slots of a skeleton; a template with more gets one slot a part."""

_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
_RUN_ERRORS = (
    *(TypeError, ValueError, ArithmeticError, LookupError, AttributeError),
    *(RecursionError, MemoryError, jinja2.TemplateError),
)
_TELLS_NO_CONTENT = (TypeError, ZeroDivisionError)


class RunnerKind(StrEnum):
    """Which runner a template is run by: the results are the same."""

    COMPILED = "compiled"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """The sources of a template's parts; one of the bodies may be empty."""

    subject: str
    html: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One message's parts; those the template does not have are empty."""

    subject: str
    html: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkeletonParts:
    """What all messages share, with `keys[i]` wherever slot i goes."""

    subject: str
    html: str
    text: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """One part, cut into pieces; `slots` has the slot's number for each piece that is one."""

    checked: Checked
    source: str
    folded: Mapping[int, str]
    cut: Callable[[Sequence[nodes.Node]], list[Piece]]
    pieces: list[Piece]
    slots: dict[int, int]
    emitted: list[bool]

    def runner(self, kind: RunnerKind) -> PartRunner:
        part = self.checked.part
        if kind is RunnerKind.SANDBOX:
            return SandboxRunner(self.source, part, self.folded, self.cut, self.emitted)
        return CompiledRunner(self.pieces, part.mode, self.emitted)

    def filled(self, slots: Sequence[str]) -> str:
        """The part with the slots put in."""
        return "".join(
            piece if isinstance(piece, str) else slots[self.slots[index]]
            for index, piece in enumerate(self.pieces)
            if isinstance(piece, str) or index in self.slots
        )


class CompiledTemplate:
    """A template that may be rendered; immutable and safe to share between threads."""

    def __init__(self, plans: Sequence[_Plan], sources: TemplateSource, kind: RunnerKind) -> None:
        self.names = frozenset[str]().union(*(plan.checked.names for plan in plans))
        """Variables it reads from the context."""
        self.required = frozenset[str]().union(*(plan.checked.required for plan in plans))
        """Those without which a message may fail: used without `default` or `is defined`."""
        self._plans = {plan.checked.part: plan for plan in plans}
        self._runners = {plan.checked.part: plan.runner(kind) for plan in plans}
        self._subject = self._runners.get(Part.SUBJECT)
        self._bodies = [runner for part, runner in self._runners.items() if part != Part.SUBJECT]
        self._skeleton, self._mark = self._make_skeleton(sources)
        self._room = self._shortest_fatal_length()

    def render(self, context: Values) -> Rendered:
        """The message of one recipient. `context` holds plain values only.

        Raises MissingVariable, HeaderRefused, or RenderFailed for everything else.
        """
        budget = Budget()
        try:
            subject = header(self._subject.render(context, budget)) if self._subject else ""
            html, text = (self._body(part, context, budget) for part in (Part.HTML, Part.TEXT))
        except _RUN_ERRORS as error:
            _fail(error)
        return Rendered(subject=_sound(subject), html=_sound(html), text=_sound(text))

    def _body(self, part: Part, context: Values, budget: Budget) -> str:
        runner = self._runners.get(part)
        return runner.render(context, budget) if runner is not None else ""

    def skeleton(self) -> SkeletonParts:
        """The part of a merging request that all messages share."""
        return self._skeleton

    def slots(self, context: Values) -> tuple[str, ...]:
        """One recipient's texts for the skeleton's keys, in their order. Raises as `render` does."""
        budget = Budget()
        try:
            subject = self._subject.slots(context, budget) if self._subject else ()
            found = [header(text) for text in subject]
            for runner in self._bodies:
                found += runner.slots(context, budget)
        except _RUN_ERRORS as error:
            _fail(error)
        joined = "\n".join(found)
        if self._mark in joined:
            raise RenderFailed("a value holds the mark of this template's merge keys")
        _sound(joined[:MAX_OUTPUT])
        if len(joined) >= self._room:
            for plan in self._plans.values():
                _sound(plan.filled(found))
        return tuple(found)

    def _shortest_fatal_length(self) -> int:
        """The length of all slots together from which a part may be too long."""
        longest = max(len(part) for part in (self._skeleton.html, self._skeleton.text))
        uses = max([len(plan.slots) for plan in self._plans.values()] + [1])
        return (MAX_OUTPUT - longest) // uses

    def _make_skeleton(self, sources: TemplateSource) -> tuple[SkeletonParts, str]:
        """The skeleton, and what its keys start with: nothing else in it or in slots holds that."""
        slot_count = 1 + max(
            (n for plan in self._plans.values() for n in plan.slots.values()), default=-1
        )
        blank = [""] * slot_count
        static = "\n".join(plan.filled(blank) for plan in self._plans.values())
        for salt in count():
            seed = f"{salt}\0{sources.subject}\0{sources.html}\0{sources.text}"
            mark = "~c" + hashlib.sha256(seed.encode()).hexdigest()[:6]
            if mark not in static:
                break
        keys = tuple(f"{mark}.{number}~" for number in range(slot_count))
        subject, html, text = (
            self._plans[part].filled(keys) if part in self._plans else "" for part in Part
        )
        return SkeletonParts(subject=header(subject), html=html, text=text, keys=keys), mark


def compile_template(
    parts: TemplateSource,
    *,
    constants: Mapping[str, object] | None = None,
    runner: RunnerKind = RunnerKind.COMPILED,
    has_subject: bool = True,
) -> CompiledTemplate:
    """The template ready to run. Raises TemplateRefused with a sentence for its author.

    `has_subject`: False for channels that know none, such as SMS; a subject that is there is used.

    `constants` are values that every context of this send will hold under the same names; what
    depends on them alone is rendered here, once, and becomes part of the skeleton.
    """
    if not parts.html.strip() and not parts.text.strip():
        raise TemplateRefused("a template needs body.html or body.txt")
    sources = {Part.SUBJECT: parts.subject, Part.HTML: parts.html, Part.TEXT: parts.text}
    checked = [check(source, part=part) for part, source in sources.items() if source.strip()]
    if has_subject and Part.SUBJECT not in [each.part for each in checked]:
        raise TemplateRefused("subject.txt: it is empty")
    try:
        plans = _plan(checked, sources, dict(constants or {}))
        return CompiledTemplate(plans, parts, runner)
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise TemplateRefused("the template is nested too deeply") from error


def header(text: str) -> str:
    """A rendered subject without whitespace at its ends. Raises HeaderRefused on control characters."""
    text = text.strip(" \t\r\n")
    if not text.isprintable() and _CONTROLS.search(text):
        raise HeaderRefused("the subject holds a line break or another control character")
    return text


def _sound(text: str) -> str:
    if len(text) > MAX_OUTPUT:
        raise RenderFailed(f"a part grows longer than {MAX_OUTPUT} characters")
    if "\0" in text:
        raise RenderFailed("a value holds NUL, which no e-mail can carry")
    if not is_unicode(text):
        raise RenderFailed("a value holds half a surrogate pair, which is no text")
    return text


def _fail(error: BaseException) -> NoReturn:
    """Raise our error for one of an expression's; texts that may hold content are left out."""
    if isinstance(error, jinja2.UndefinedError):
        raise MissingVariable(str(error)) from error
    told = f": {error}" if isinstance(error, _TELLS_NO_CONTENT) else ""
    raise RenderFailed(f"{type(error).__name__}{told}") from error


def _plan(
    checked: Sequence[Checked], sources: Mapping[Part, str], constants: Values
) -> list[_Plan]:
    """The parts cut into pieces, their slots numbered; equal slots share a number."""
    folded = {each.part: _fold(each, constants) for each in checked}
    plans = _cut(checked, sources, folded, is_coarse=False)
    if sum(sum(plan.emitted) for plan in plans) > MAX_KEYS:
        plans = _cut(checked, sources, folded, is_coarse=True)
    return plans


def _cut(
    checked: Sequence[Checked],
    sources: Mapping[Part, str],
    folded: Mapping[Part, Mapping[int, str]],
    *,
    is_coarse: bool,
) -> list[_Plan]:
    known: dict[str, int] = {}
    plans = []
    for each in checked:
        flat = top(each.tree.body, folded[each.part])
        # A subject is trimmed and checked as a whole, so it is one slot.
        cut = one_piece if is_coarse or each.part is Part.SUBJECT else pieces
        if not any(isinstance(piece, Run) and piece.does_print for piece in pieces(flat)):
            cut = pieces
        plan = _Plan(each, sources[each.part], folded[each.part], cut, cut(flat), {}, [])
        _number(plan, known)
        plans.append(plan)
    if plans[0].checked.part is Part.SUBJECT:
        _check_static_subject(plans[0])
    return plans


def _number(plan: _Plan, known: dict[str, int]) -> None:
    """Number the slots of a part, after those in `known`."""
    part, changing = plan.checked.part, assigned(plan.checked.tree.body)
    for index, piece in enumerate(plan.pieces):
        if not isinstance(piece, Run):
            continue
        own = f"{part}:{index}"
        name = own if part is Part.SUBJECT else identity(piece, part.mode, changing) or own
        plan.emitted.append(piece.does_print and name not in known)
        if piece.does_print:
            plan.slots[index] = known.setdefault(name, len(known))


def _check_static_subject(plan: _Plan) -> None:
    """Refuse a subject that is the same for all and no header."""
    try:
        if not plan.slots:
            header(plan.filled(()))
    except HeaderRefused as error:
        raise TemplateRefused(f"{Part.SUBJECT}: {error}") from error


def _fold(checked: Checked, constants: Values) -> dict[int, str]:
    """Texts of the nodes at the top of a tree that depend on `constants` alone, by position."""
    assigned_names = assigned(checked.tree.body)
    folded = {}
    for position, node in enumerate(top(checked.tree.body, {})):
        if isinstance(node, nodes.TemplateData | nodes.Assign):
            continue
        names = names_in(node)
        if names <= constants.keys() and not (names | assigned([node])) & assigned_names:
            runner = CompiledRunner([Run([node])], checked.part.mode, [False])
            try:
                folded[position] = runner.render(constants, Budget())
            except (TemplateError, *_RUN_ERRORS):
                continue  # it fails for each message, as it would unfolded
    return folded
