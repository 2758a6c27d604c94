"""Tokens of links by which somebody joins a topic, or confirms that they want to; in 47 letters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from domain.send import Channel
from domain.signed_token import SignedToken

_TOKEN = SignedToken(b"carillon/join/1", "QQB")
# Places in this list are on the wire: only add to its end.
_CHANNELS = (
    Channel.EMAIL,
    Channel.SMS,
    Channel.PUSH,
    Channel.WEB_PUSH,
    Channel.IN_APP,
    Channel.WEBHOOK,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Who may join what by a link."""

    topic_id: int
    recipient_id: int
    channel: Channel


def make_join_token(secret: bytes, invitation: Invitation) -> str:
    """The token of the invitation, the same each time."""
    place = _CHANNELS.index(invitation.channel)
    return _TOKEN.make(secret, invitation.topic_id, invitation.recipient_id, place)


def read_join_token(secrets: Iterable[bytes], token: str) -> Invitation | None:
    """The invitation that the token is; None unless one of the secrets signed it."""
    numbers = _TOKEN.read(secrets, token)
    if numbers is None or numbers[-1] >= len(_CHANNELS):
        return None
    topic_id, recipient_id, place = numbers
    return Invitation(topic_id=topic_id, recipient_id=recipient_id, channel=_CHANNELS[place])
