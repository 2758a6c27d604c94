"""What can go wrong with a template: when it is published, and when a message is rendered."""

from __future__ import annotations


class TemplateError(Exception):
    """Base of the errors of templates; its text is a sentence for the author, without content."""


class TemplateRefused(TemplateError):
    """The template (or its manifest) is not acceptable: fix it and publish again."""


class MissingVariable(TemplateError):
    """A message needs a variable its recipient and send do not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the variable '{name}' is missing")
        self.name = name


class RenderFailed(TemplateError):
    """A message cannot be rendered with this context: wrong type, out of bounds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HeaderRefused(TemplateError):
    """The rendered subject holds a control character: a header cannot carry it."""
