"""Accounts whose credentials are in their rows, encrypted: added, removed, read by those who send."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from activities.account_book import KnownAccount
from domain.routing import key_for_tests
from domain.send import AccountState, Channel
from models.account import (
    Account,
    NamedAccount,
    find_account,
    keep_account,
    list_accounts,
    sends_of_account,
)
from models.account_health import make_channel_due
from models.audit_entry import record_audit
from models.credential import (
    AccountRow,
    StoredCredential,
    account_rows,
    lock_credentials,
    remove_credential,
    reseal_credential,
    store_credential,
)
from models.outbox import announce
from models.team import default_team_id
from providers.catalog import AccountConfig, account_for_tests, account_of, credential_names
from settings import Settings, SettingsError
from starter.accounts import Resumed, accounts_of, wire_of
from starter.credential_keys import CredentialUnreadable, KeyRing, key_ring

log = logging.getLogger(__name__)

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class AccountNotStored(Exception):
    """The account cannot be added, changed or removed so; the message is one sentence."""

    def __init__(self, sentence: str, pointer: str = "") -> None:
        """`pointer`: the value that it is about, as a JSON pointer; empty: none alone."""
        super().__init__(sentence)
        self.pointer = pointer


class AccountInTheWay(AccountNotStored):
    """What is wished is right, but not of the account as it stands now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """What is to be stored; the credentials are never read back."""

    key: str
    provider: str
    credentials: Mapping[str, str] = field(repr=False)
    """By name of setting, such as sendgrid_api_key (`providers.catalog.credential_names`)."""
    channel: Channel | None = None
    """None: the provider's."""
    rate: float = 0.0
    """Units a second of a new one; 0: no limit of ours."""
    replaces: bool = False
    """It is there already: these are its new credentials."""


def add_account(
    connection: Connection, settings: Settings, team_id: int, new: NewAccount, *, actor: str
) -> Resumed:
    """Store the account, or new credentials of one that is stored; what waited for its channel.

    Raises AccountNotStored, CredentialUnreadable (no key to seal it with) and SettingsError.
    """
    ring = key_ring(settings)
    made = _checked(settings, new)
    before = _refuse_conflict(connection, settings, team_id, new)
    named = NamedAccount(
        key=new.key,
        provider=made.provider,
        channel=made.channel,
        is_real=made.is_real,
        rate=new.rate,
    )
    account_id = keep_account(connection, team_id, named) if before is None else before.id
    key_id, sealed = ring.seal(_plain(new.credentials), bound_to(team_id, account_id))
    if not store_credential(connection, account_id, key_id, sealed, replaces=before is not None):
        raise AccountInTheWay(f"The account '{new.key}' was just changed by somebody else.")
    record_audit(
        connection,
        team_id,
        actor=actor,
        action="account.added" if before is None else "account.credentials_replaced",
        subject=new.key,
        provider=new.provider,
        key_id=key_id,
    )
    groups = make_channel_due(connection, account_id)
    announce(connection)
    return Resumed(sends=sends_of_account(connection, account_id), groups=groups)


def replace_credentials(
    connection: Connection,
    settings: Settings,
    team_id: int,
    key: str,
    credentials: Mapping[str, str],
    *,
    actor: str,
) -> Resumed:
    """Give a stored account new credentials of its provider; what waited for its channel.

    Raises as `add_account`, and UnknownAccount.
    """
    account = _stored_account(connection, team_id, key)
    new = NewAccount(key=key, provider=account.provider, credentials=credentials, replaces=True)
    return add_account(connection, settings, team_id, new, actor=actor)


def remove_account(
    connection: Connection, settings: Settings, team_id: int, key: str, *, actor: str
) -> None:
    """Take a stored account away: no claim on it is committed from now on.

    Raises UnknownAccount; AccountInTheWay where it is the settings' or removed already.
    """
    account = _stored_account(connection, team_id, key)
    remove_credential(connection, account.id, actor)
    record_audit(connection, team_id, actor=actor, action="account.removed", subject=key)


def rotate_keys(connection: Connection, settings: Settings, *, actor: str) -> int:
    """Seal all stored credentials, of all teams, under the current key; how many were not.

    Raises CredentialUnreadable, which names the first that cannot be opened; nothing is changed then.
    """
    ring = key_ring(settings)
    if not ring.current:
        ring.seal(b"", b"")
    old = [one for one in lock_credentials(connection) if one.key_id != ring.current]
    for one in old:
        key_id, sealed = ring.seal(_opened(ring, one), bound_to(one.team_id, one.account_id))
        reseal_credential(connection, one.account_id, key_id, sealed)
        record_audit(
            connection,
            one.team_id,
            actor=actor,
            action="account.key_rotated",
            subject=one.key,
            key_id=key_id,
            key_id_before=one.key_id,
        )
    return len(old)


class KnownAccounts:
    """Reads the accounts that these settings and the rows make, for `activities.account_book`."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError and SettingsError for what cannot be one."""
        self._of_settings = {account.key: account for account in accounts_of(settings)}
        self._wire = wire_of(settings)
        self._ring = key_ring(settings)
        self._told: set[tuple[str, int, object]] = set()

    def read(self, connection: Connection) -> dict[int, KnownAccount]:
        """By id. An account in both is its row's; one whose credentials cannot be opened is left out."""
        ours = default_team_id(connection)
        found = {}
        for row in account_rows(connection):
            known = self._known(row, is_ours=row.team_id == ours)
            if known is not None:
                found[row.id] = known
        return found

    def _known(self, row: AccountRow, *, is_ours: bool) -> KnownAccount | None:
        if row.is_test:
            return KnownAccount(config=account_for_tests(row.channel), set_at=None)
        named = self._of_settings.get(row.key) if is_ours else None
        if row.stored is None:
            return None if named is None else KnownAccount(config=named, set_at=None)
        if named is not None:
            self._tell("account.named_twice", row.stored)
        try:
            config = self._config(row.stored)
        except (CredentialUnreadable, ValueError) as error:
            self._tell("account.unreadable", row.stored, reason=str(error))
            return None
        return KnownAccount(config=config, set_at=row.stored.set_at)

    def _config(self, stored: StoredCredential) -> AccountConfig:
        credentials = json.loads(_opened(self._ring, stored))
        return account_of(stored.provider, stored.key, credentials, self._wire)

    def _tell(self, event: str, stored: StoredCredential, **fields: object) -> None:
        """Log it once for these credentials: accounts are read every second."""
        told = (event, stored.account_id, stored.set_at)
        if told not in self._told:
            self._told.add(told)
            fields |= {"account": stored.key, "key_id": stored.key_id}
            log.warning(event, extra=fields)


def usable_account(connection: Connection, settings: Settings, key: str) -> AccountConfig | None:
    """The default team's account `key` with its credentials; None: neither settings nor rows have any.

    Raises CredentialUnreadable where the row's cannot be opened, ValueError for wrong settings.
    """
    for row in account_rows(connection, default_team_id(connection)):
        if row.key == key and row.stored is not None:
            return _account_in(settings, row.stored)
    return next((account for account in accounts_of(settings) if account.key == key), None)


def usable_accounts(connection: Connection, settings: Settings) -> list[AccountConfig]:
    """All of the default team's accounts, with their credentials. Raises as `usable_account`."""
    found = {account.key: account for account in accounts_of(settings)}
    for row in account_rows(connection, default_team_id(connection)):
        if row.stored is not None:
            found[row.key] = _account_in(settings, row.stored)
    return list(found.values())


def _account_in(settings: Settings, stored: StoredCredential) -> AccountConfig:
    credentials = json.loads(_opened(key_ring(settings), stored))
    return account_of(stored.provider, stored.key, credentials, wire_of(settings))


def require_credential_keys(connection: Connection, settings: Settings) -> None:
    """Return where the settings hold every key that rows need; in development, whatever they hold.

    Raises SettingsError, also for keys that are none.
    """
    held = key_ring(settings).keys
    needed = {row.stored.key_id for row in account_rows(connection) if row.stored}
    if settings.mode == "production" and (missing := sorted(needed - held.keys())):
        raise SettingsError(
            f"CARILLON_CREDENTIAL_KEYS: stored accounts need the key {', '.join(missing)}"
        )


def bound_to(team_id: int, account_id: int) -> bytes:
    """What the credentials of a row are sealed with: moved to another row they do not open."""
    return f"carillon/provider_account/team={team_id}/id={account_id}".encode()


def _stored_account(connection: Connection, team_id: int, key: str) -> Account:
    """Raises UnknownAccount; AccountInTheWay where no credentials of it are stored."""
    account = find_account(connection, team_id, key)
    if account.state is AccountState.REMOVED:
        raise AccountInTheWay(f"The account '{key}' was removed already.")
    if account.credential_key_id is None:
        raise AccountInTheWay(
            f"The account '{key}' is the settings': change it there and restart the workers."
        )
    return account


def _checked(settings: Settings, new: NewAccount) -> AccountConfig:
    """Raises AccountNotStored for what makes no account."""
    if not _KEY.fullmatch(new.key):
        raise AccountNotStored(
            "An account's name is of lower-case letters, digits, - and _, at most 63 of them.",
            "/key",
        )
    if new.key in map(key_for_tests, Channel):
        raise AccountNotStored(
            f"The name '{new.key}' is kept for what test keys send: take another one.", "/key"
        )
    if new.rate < 0:
        raise AccountNotStored("A rate is 0, for no limit, or above.", "/rate")
    if new.rate and new.replaces:
        raise AccountNotStored(
            f"The account keeps its rate: `carillon limits set account:{new.key}` changes it.",
            "/rate",
        )
    try:
        names = credential_names(new.provider)
    except ValueError as error:
        raise AccountNotStored(str(error), "/provider") from error
    try:
        made = account_of(new.provider, new.key, new.credentials, wire_of(settings))
    except ValueError as error:
        raise AccountNotStored(str(error), _place(names, new.credentials)) from error
    if new.channel not in (None, made.channel):
        raise AccountNotStored(
            f"The provider {new.provider} sends by {made.channel.value} alone.", "/channel"
        )
    return made


def _place(names: Sequence[str], credentials: Mapping[str, str]) -> str:
    """Where what makes no account is: a name that is unknown, the one that is missing, or any."""
    unknown = sorted(credentials.keys() - set(names))
    if unknown:
        return "/credentials/" + unknown[0].replace("~", "~0").replace("/", "~1")
    is_of_first = len(names) == 1 or not credentials.get(names[0])
    return f"/credentials/{names[0]}" if is_of_first else "/credentials"


def _refuse_conflict(
    connection: Connection, settings: Settings, team_id: int, new: NewAccount
) -> Account | None:
    """The stored account that gets new credentials; None: it is new. Raises AccountNotStored."""
    before = next((a for a in list_accounts(connection, team_id) if a.key == new.key), None)
    if before is not None and before.credential_key_id is None:
        before = None  # removed, or what settings left that are gone
    if new.key in _keys_of_settings(connection, settings, team_id):
        raise AccountInTheWay(
            f"The settings make an account '{new.key}': take another name.", "/key"
        )
    if before is not None and not new.replaces:
        raise AccountInTheWay(
            f"There is an account '{new.key}' already: it can be given new credentials"
            " (--replace, or PUT …/credentials).",
            "/key",
        )
    if before is None and new.replaces:
        raise AccountInTheWay(f"There is no stored account '{new.key}' to give new credentials.")
    if before is not None and before.provider != new.provider:
        raise AccountInTheWay(f"The account '{new.key}' is one of {before.provider}.", "/provider")
    return before


def _keys_of_settings(connection: Connection, settings: Settings, team_id: int) -> set[str]:
    if team_id != default_team_id(connection):
        return set()
    try:
        return {account.key for account in accounts_of(settings)}
    except ValueError as error:
        raise SettingsError(f"The settings of a provider account are wrong: {error}") from error


def _plain(credentials: Mapping[str, str]) -> bytes:
    return json.dumps(dict(credentials), sort_keys=True).encode()


def _opened(ring: KeyRing, stored: StoredCredential) -> bytes:
    try:
        return ring.open(stored.key_id, stored.sealed, bound_to(stored.team_id, stored.account_id))
    except CredentialUnreadable as error:
        raise CredentialUnreadable(
            f"The credentials of the account '{stored.key}' cannot be opened. {error}"
        ) from error
