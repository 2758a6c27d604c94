"""A request that an adapter cannot write: answered at once, and nothing went on the wire."""

from __future__ import annotations

from domain.answer import Answer, AnswerClass


class Unsendable(Exception):
    """The request cannot be written as it is; `answer` says why."""

    def __init__(self, kind: AnswerClass, code: str, detail: str) -> None:
        super().__init__(detail)
        self.answer = Answer(kind=kind, code=code, detail=detail)


def content_refused(code: str, detail: str) -> Unsendable:
    """For a message that cannot be written."""
    return Unsendable(AnswerClass.CONTENT_REFUSED, code, detail)


def recipient_refused(code: str, detail: str) -> Unsendable:
    """For an address that cannot be written."""
    return Unsendable(AnswerClass.RECIPIENT_REFUSED, code, detail)


def account_refused(code: str, detail: str) -> Unsendable:
    """For a sender that this account cannot send from."""
    return Unsendable(AnswerClass.ACCOUNT_REFUSED, code, detail)
