"""Twilio's error codes and HTTP statuses, and what the caller must do about each.

https://www.twilio.com/docs/api/errors - Twilio splits codes often and advises against logic on
them: so the table holds what matters, and everything else falls into the safe class of its status.
The 30000s come in status callbacks, the others in answers.
"""

from __future__ import annotations

from domain.answer import AnswerClass

_ACCOUNT = AnswerClass.ACCOUNT_REFUSED
_RECIPIENT = AnswerClass.RECIPIENT_REFUSED
_CONTENT = AnswerClass.CONTENT_REFUSED
_THROTTLED = AnswerClass.THROTTLED
_UNAVAILABLE = AnswerClass.UNAVAILABLE
_UNKNOWN = AnswerClass.UNKNOWN

OPTED_OUT = 21610
"""The recipient answered STOP to this sender: whoever reads events suppresses the number for it."""

KIND_BY_CODE = {
    20003: _ACCOUNT,  # wrong credentials
    20005: _ACCOUNT,  # account not active
    20404: _ACCOUNT,  # no such account
    20429: _THROTTLED,
    20500: _UNKNOWN,  # "POST is not idempotent": it may have been sent
    21211: _RECIPIENT,  # no valid number
    21212: _ACCOUNT,  # invalid From
    21214: _RECIPIENT,
    21217: _RECIPIENT,
    21265: _RECIPIENT,  # a short code
    21266: _RECIPIENT,  # To is From
    21267: _ACCOUNT,  # alphanumeric sender on a trial account
    21268: _RECIPIENT,  # premium number
    21408: _ACCOUNT,  # no permission to send to this country
    21602: _CONTENT,  # neither body nor media
    21603: _ACCOUNT,  # no From
    21604: _RECIPIENT,  # no To
    21605: _CONTENT,
    21606: _ACCOUNT,  # From cannot send, or is not ours
    21607: _ACCOUNT,
    21608: _ACCOUNT,  # trial account: unverified number
    21609: _ACCOUNT,  # StatusCallback is no URL: our configuration
    OPTED_OUT: _RECIPIENT,
    21611: _THROTTLED,  # the sender's queue is full
    21612: _RECIPIENT,  # no route to this number
    21614: _RECIPIENT,  # no mobile number
    21617: _CONTENT,  # over 1,600 characters
    21619: _CONTENT,
    21620: _CONTENT,  # invalid media URL
    21623: _CONTENT,  # too many media
    21635: _RECIPIENT,  # a landline
    21658: _CONTENT,  # over 1,600 characters, in newer answers
    21659: _ACCOUNT,  # From is none of Twilio's numbers
    21660: _ACCOUNT,  # From is another account's
    21661: _ACCOUNT,  # From cannot send text messages
    21703: _ACCOUNT,  # the messaging service has no sender
    21704: _ACCOUNT,
    21705: _ACCOUNT,  # no such messaging service
    30001: _THROTTLED,  # queue overflow
    30002: _ACCOUNT,  # account suspended
    30003: _UNAVAILABLE,  # handset off: again in 30 to 60 minutes
    30005: _RECIPIENT,
    30006: _RECIPIENT,  # a landline, or a carrier that cannot be reached
    30007: _CONTENT,  # filtered
    30008: _UNAVAILABLE,
    30034: _ACCOUNT,  # number not registered for 10DLC
    30410: _UNAVAILABLE,
    30450: _RECIPIENT,  # blocked as pumping
}

_KIND_BY_STATUS = {
    400: _CONTENT,  # a code that we do not know: this message only
    408: _UNKNOWN,
    413: _CONTENT,
    429: _THROTTLED,
    503: _UNAVAILABLE,
}

_KIND_BY_HUNDRED = {
    2: _UNKNOWN,  # no message resource in it
    3: _ACCOUNT,  # we follow nothing: the URL is wrong
    4: _ACCOUNT,  # 401, 403, 404: stop rather than burn people
    5: _UNKNOWN,
}


def kind_of(code: int, status: int) -> AnswerClass:
    """The class of an error with Twilio's `code` (0: none) in an answer of HTTP `status`."""
    return (
        KIND_BY_CODE.get(code)
        or _KIND_BY_STATUS.get(status)
        or _KIND_BY_HUNDRED.get(status // 100, _UNKNOWN)
    )
