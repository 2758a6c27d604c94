"""Which account takes a message: the weights decide, then the order of fallback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from domain.send import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Routable:
    """An account as routing sees it."""

    id: int
    key: str
    channel: Channel
    is_real: bool
    weight: int
    """Its share among the accounts of its channel; 0: only when no other one is up."""
    is_test: bool = False
    """It only logs: for what test keys send, and for nothing else."""


A = TypeVar("A", bound=Routable)


def key_for_tests(channel: Channel) -> str:
    """Key of a team's account for what its test keys send on the channel."""
    return f"test-{channel.value}"


def fitting(
    accounts: Sequence[A], channel: Channel, wanted: Sequence[str], *, is_test: bool = False
) -> list[A]:
    """The accounts that may take a message of the channel at all, up or not.

    The accounts that its plan names, in that order, else all of the channel. Where there is a real
    account the simulator's are left out, also while it is down: people wait, they are not forgotten.
    `is_test`: what a test key sends goes to the accounts that only log, whatever its plan names.
    """
    of_channel = [a for a in accounts if a.channel is channel and a.is_test is is_test]
    if is_test:
        return of_channel
    if wanted:
        by_key = {account.key: account for account in of_channel}
        return [by_key[key] for key in wanted if key in by_key]
    real = [account for account in of_channel if account.is_real]
    return real or of_channel


def ranked(accounts: Sequence[A], chance: float, *, is_ordered: bool = False) -> list[A]:
    """The accounts in the order in which to try them: one drawn by weight, then the heaviest first.

    `chance` in [0, 1). `is_ordered`: the plan names them, so its order stands and nothing is drawn.
    """
    if is_ordered:
        return list(accounts)
    by_weight = sorted(accounts, key=lambda account: -account.weight)
    drawn = _draw(by_weight, chance)
    return [] if drawn is None else [drawn, *(a for a in by_weight if a is not drawn)]


def _draw(accounts: Sequence[A], chance: float) -> A | None:
    point = chance * sum(account.weight for account in accounts)
    for account in accounts:
        point -= account.weight
        if point < 0:
            return account
    return accounts[0] if accounts else None
