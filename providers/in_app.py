"""In-app messages: a row of ours, read by the application that shows it.

The row is written by the ledger's settle, in the transaction that records the acceptance: so it is
there exactly once, and no call can be lost. All that is left to do here is to accept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domain.send import Channel
from providers.account import AccountConfig, ProviderEntry, Wire
from providers.local_session import LocalSession
from providers.protocol import Mail


@dataclass(frozen=True, slots=True, kw_only=True)
class InAppSettings:
    """None: the account is always there."""


def open_session(_config: InAppSettings) -> LocalSession:
    """A session that accepts and calls nobody."""
    return LocalSession(Channel.IN_APP, _nothing)


def _nothing(_mail: Mail) -> None:
    """The settle writes the row."""


def _accounts(settings: InAppSettings, _wire: Wire) -> Iterator[AccountConfig]:
    yield AccountConfig(
        key="in_app",
        provider="in_app",
        channel=Channel.IN_APP,
        is_real=True,
        config=settings,
        open=open_session,
    )


ENTRY = ProviderEntry(name="in_app", settings=InAppSettings, accounts=_accounts)
