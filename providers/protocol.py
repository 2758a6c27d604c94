"""What every provider adapter offers: a session that takes requests and gives answers.

An adapter is one vendor's file, with its parts in files beside it (`sendgrid_payload`, `smtp_…`): it
builds the vendor's payloads, speaks the vendor's protocol with retries OFF, and turns every answer, error or silence into one of the seven classes of `domain.answer`.
It knows no database and no Temporal. One contract suite (tests/providers) runs over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, runtime_checkable

from domain.answer import Answer
from domain.rate_unit import RateUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who a send comes from, already validated; names hold no control characters."""

    address: str
    """An e-mail address. For SMS the sending number, or a messaging service's id."""
    name: str = ""
    reply_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """The part of a merging request that all its people share.

    `subject`, `html` and `text` hold `keys[i]` wherever slot i goes; a provider that merges replaces
    every key by the person's slot. `text` or `html` may be empty, not both.
    """

    subject: str
    html: str
    text: str
    keys: tuple[str, ...]


class Mail(NamedTuple):
    """One message to one address, on any channel. A NamedTuple: it is built once per recipient on
    the hot path. An adapter takes the fields that its channel has and ignores the others.

    With a skeleton only `slots` is filled (as long as `keys`); without one `subject`, `html` and
    `text` are the rendered message. Headers were checked for control characters after rendering.
    """

    ordinal: int
    reference: str
    """Our opaque id: custom_args, Message-ID, webhook-id; equal on every retry."""
    address: str
    """An e-mail address, a phone number as E.164, an endpoint's URL; in-app: the recipient's id."""
    name: str
    unsubscribe_url: str
    """For List-Unsubscribe and List-Unsubscribe-Post (RFC 8058); empty: no such headers."""
    slots: Sequence[str]
    subject: str
    html: str
    text: str
    media: tuple[str, ...] = ()
    """URLs of what goes along with a text message (MMS)."""
    data: str = ""
    """A JSON object: what a webhook carries. Empty: its subject and text."""
    kind: str = ""
    """A webhook's event type, such as the template's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one call to the provider carries: 1 to `max_messages_per_request` mails."""

    number: int
    """The caller's name for it; comes back in the reply."""
    sender: Sender
    mails: Sequence[Mail]
    skeleton: Skeleton | None
    call_by: float
    """time.monotonic() after which it must not be written any more: answer CALL_BY_MISSED instead."""


class Reply(NamedTuple):
    """The answer to a request, true for every one of its mails."""

    number: int
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the driver of a batch must know of an adapter."""

    channel: str
    """A value of `domain.send.Channel`."""
    merges: bool
    max_messages_per_request: int
    """1 where each person is a request."""
    max_request_bytes: int
    """Of the whole body; the caller cuts a merging request so that it stays below."""
    max_slot_bytes: int
    """Of one person's slots together (SendGrid: 50,000 of substitutions); 0: no such limit."""
    max_open_requests: int
    """How many requests one session keeps on the wire."""
    rate_unit: RateUnit = RateUnit.RECIPIENTS
    """What the vendor counts when it limits the account."""


class Session(Protocol):
    """A sending thread's kept connections to one account. Not thread-safe; never retries."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def open_requests(self) -> int:
        """Requests submitted and not yet answered."""

    def submit(self, request: Request) -> None:
        """Take a request and begin to write it as soon as a connection is free. Does not block."""

    def poll(self, timeout: timedelta) -> list[Reply]:
        """Work the connections until something is answered or `timeout` has passed.

        Every submitted request is answered exactly once, by UNKNOWN at the latest when its answer
        did not come within the session's request time-out. An empty list: nothing yet.
        """

    def check(self) -> Answer:
        """A harmless call that proves key and reachability: ACCEPTED, or what is wrong, in `detail`."""

    def close(self) -> None:
        """Close the connections; open requests are given up without a reply."""


class LookUpFailed(Exception):
    """A vendor could not be asked; the message is one sentence, without address and content."""


@runtime_checkable
class Finder(Protocol):
    """What a session offers, too, where its vendor has a list of the messages it took."""

    def find_message(self, to: str, body: str, since: datetime) -> str | None:
        """The vendor's id of the message with this text taken for `to` at `since` or later, if any.

        None is no proof of anything. Blocks. Raises LookUpFailed.
        """
