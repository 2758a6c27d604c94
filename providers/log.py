"""For development: a message becomes one log line, without address and content, and is accepted."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from domain.send import Channel
from providers.account import AccountConfig, ProviderEntry, Wire
from providers.local_session import LocalSession
from providers.protocol import Mail

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Of settings.py."""

    log_provider: bool = False


def open_session(_config: LogSettings) -> LocalSession:
    """A session that logs what it is given and calls nobody."""
    return open_channel(Channel.EMAIL)


def open_channel(channel: Channel) -> LocalSession:
    """The same for messages of any channel."""
    return LocalSession(channel, functools.partial(_write, channel))


def _write(channel: Channel, mail: Mail) -> None:
    log.info(
        "message.logged",
        extra={
            "reference": mail.reference,
            "channel": channel.value,
            "html_characters": len(mail.html),
            "text_characters": len(mail.text),
        },
    )


def _accounts(settings: LogSettings, _wire: Wire) -> Iterator[AccountConfig]:
    if settings.log_provider:
        yield AccountConfig(
            key="log",
            provider="log",
            channel=Channel.EMAIL,
            is_real=False,
            config=settings,
            open=open_session,
        )


ENTRY = ProviderEntry(name="log", settings=LogSettings, accounts=_accounts)
