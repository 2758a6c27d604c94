"""What a request's template asks for, and whether everybody named has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from domain.plan import Step
from domain.send import Channel
from domain.template_folder import BUILT_IN_NAMES
from domain.template_render import TemplateSource, compile_template
from models.template import Version
from starter.request_recipients import Named
from starter.wish import RequestRefused


class MissingVariables(Exception):
    """The template asks for names that nobody gives; the message is one sentence."""


def required_names(version: Version, channel: Channel) -> frozenset[str]:
    """Names that the version must be given on this channel, in whatever locale; its own [variables]
    are given."""
    required: frozenset[str] = frozenset().union(
        *(
            _required(parts["subject"], parts["html"], parts["text"])
            for parts in version.content.get(channel, {}).values()
        )
    )
    return required - set(BUILT_IN_NAMES) - version.variables.keys()


def only_step(version: Version) -> Step:
    """The plan of who says none: the template's one channel, e-mail if it has several."""
    channels = list(version.content)
    channel = Channel.EMAIL if Channel.EMAIL in channels else Channel(channels[0])
    return Step(channel=channel)


def check_channels(version: Version, plan: Sequence[Step]) -> None:
    """Return if the template says something on each channel. Raises RequestRefused."""
    for step in plan:
        if step.channel is not Channel.WEBHOOK and step.channel not in version.content:
            known = ", ".join(version.content)
            raise RequestRefused(
                f"{version.label} says nothing for {step.channel}; it has: {known}."
            )
        required_names(version, step.channel)


def asked_of_people(
    version: Version, plan: Sequence[Step], variables: Mapping[str, Any]
) -> frozenset[str]:
    """Names that some step asks for and the request does not give: each recipient must have them."""
    asked = frozenset().union(*(required_names(version, step.channel) for step in plan))
    return asked - variables.keys()


def check_variables(
    version: Version, plan: Sequence[Step], variables: Mapping[str, Any], named: Sequence[Named]
) -> None:
    """Return if everybody has all that any step asks for. Raises MissingVariables, which names it."""
    asked = asked_of_people(version, plan, variables)
    for one in named if asked else ():
        missing = sorted(asked - one.attributes.keys())
        if missing:
            raise MissingVariables(
                f"The template {version.label} asks for {', '.join(missing)}, which neither the"
                f" request's variables nor the attributes of '{one.name}' have."
            )


@lru_cache(maxsize=512)
def _required(subject: str, html: str, text: str) -> frozenset[str]:
    source = TemplateSource(subject=subject, html=html, text=text)
    return frozenset(compile_template(source, has_subject=False).required)
