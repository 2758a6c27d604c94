"""What an adapter's file says of itself: which settings it has, and which accounts they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from domain.send import Channel
from providers.protocol import Session

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    """One provider account as this process uses it."""

    key: str
    """The account's name in rows, commands and reports."""
    provider: str
    """A name of `catalog.PROVIDERS`."""
    channel: Channel
    is_real: bool
    """Whether people get what is sent."""
    rate: float = 0.0
    """Messages a second (Twilio: segments); 0: no limit of ours."""
    config: Any
    """The adapter's own configuration; it was checked when it was made."""
    open: Callable[[Any], Session] = field(repr=False)
    """Makes a session of `config`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What is the same for all accounts of a process."""

    connections: int = 8
    request_timeout: timedelta = timedelta(seconds=30)
    messages_per_request: int = 1000
    """People in one request where a provider merges."""
    public_url: str = ""
    """Where providers reach us; empty: nowhere."""
    account_key: str = ""
    """The account that is made of stored credentials; empty: the settings' own, named by its adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEntry(Generic[S]):
    """One line of the catalog."""

    name: str
    settings: type[S]
    """A dataclass whose fields are named like the fields of `settings.Settings`; all have defaults."""
    accounts: Callable[[S, Wire], Iterable[AccountConfig]]
    """The accounts whose settings are given. Raises ValueError with one sentence for wrong ones."""
    credentials: tuple[str, ...] = ()
    """Fields of `settings` that make one real account, and may be kept encrypted in its row."""
