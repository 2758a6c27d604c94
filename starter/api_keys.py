"""The use cases of API keys: make, rotate, revoke, and who holds one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine

from domain.api_key import Scope, digest_of, is_same, make_key, read_key
from models.account import keep_test_accounts
from models.api_key import KeyLine, NewKey, add_key, end_key, find_holder, find_key, note_use
from models.database import clock

DEFAULT_OVERLAP = timedelta(hours=24)
MOST_OVERLAP = timedelta(days=90)
_MOST_NAME = 100


class KeyRefused(Exception):
    """Such a key cannot be made; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A new key, in full: the only time that it is known."""

    line: KeyLine
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWish:
    """What a key is to be."""

    name: str
    scopes: Sequence[str]
    is_test: bool = False
    expires_in: timedelta | None = None
    """None: it does not expire."""
    rate: float | None = None
    """Requests a second; None: as the settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Who holds a key that is good."""

    key_id: int
    team_id: int
    scopes: frozenset[str]
    is_test: bool
    rate: float | None


def create_key(
    connection: Connection,
    secret: bytes,
    team_id: int,
    wish: KeyWish,
    *,
    rotated_from: int | None = None,
) -> MadeKey:
    """Make and store a key. Raises KeyRefused."""
    _check(wish)
    if wish.is_test:
        keep_test_accounts(connection, team_id)
    key = make_key(is_test=wish.is_test)
    expires_at = clock(connection) + wish.expires_in if wish.expires_in else None
    line = add_key(
        connection,
        NewKey(
            team_id=team_id,
            name=wish.name.strip(),
            locator=key.locator,
            digest=digest_of(secret, key),
            scopes=sorted(set(wish.scopes)),
            is_test=wish.is_test,
            expires_at=expires_at,
            rate=wish.rate,
            rotated_from=rotated_from,
        ),
    )
    return MadeKey(line=line, text=key.text)


def rotate_key(
    connection: Connection, secret: bytes, team_id: int, key_id: int, *, overlap: timedelta
) -> MadeKey:
    """A new key in the place of an old one, which stays good for `overlap`, and no longer.

    It has the old one's name, scopes, rate and time to live. Raises UnknownKey, KeyEnded, KeyRefused.
    """
    if not timedelta(0) <= overlap <= MOST_OVERLAP:
        raise KeyRefused(f"Old and new key overlap for 0 to {MOST_OVERLAP.days} days.")
    before = find_key(connection, team_id, key_id)
    end_key(connection, team_id, key_id, after=overlap)
    lives = before.expires_at - before.created_at if before.expires_at else None
    wish = KeyWish(
        name=before.name,
        scopes=before.scopes,
        is_test=before.is_test,
        expires_in=lives,
        rate=before.rate,
    )
    return create_key(connection, secret, team_id, wish, rotated_from=key_id)


def who_holds(engine: Engine, secret: bytes, given: str) -> Known | None:
    """Who holds the key; None: it is unknown, expired or revoked, which is not told apart."""
    key = read_key(given)
    if key is None:
        return None
    with engine.connect() as connection:
        found = find_holder(connection, key.locator)
        # Compared also where there is no row, so that both take the same time.
        digest = found.digest if found else "0" * 64
        is_right = is_same(digest, digest_of(secret, key))
        if found is None or not is_right:
            return None
        if not found.is_use_written:
            note_use(connection, found.key_id)
            connection.commit()
    return Known(
        key_id=found.key_id,
        team_id=found.team_id,
        scopes=found.scopes,
        is_test=found.is_test,
        rate=found.rate,
    )


def _check(wish: KeyWish) -> None:
    if not 1 <= len(wish.name.strip()) <= _MOST_NAME:
        raise KeyRefused(f"A key has a name of 1 to {_MOST_NAME} characters: who uses it.")
    known = {scope.value for scope in Scope}
    unknown = sorted(set(wish.scopes) - known)
    if unknown:
        raise KeyRefused(
            f"There is no scope '{unknown[0]}'; there are: {', '.join(sorted(known))}."
        )
    if not wish.scopes:
        raise KeyRefused("A key needs at least one scope.")
    if wish.expires_in is not None and wish.expires_in <= timedelta(0):
        raise KeyRefused("A key expires in the future.")
    if wish.rate is not None and not 0 < wish.rate <= 1e6:
        raise KeyRefused("A key's rate is above 0 requests a second.")
