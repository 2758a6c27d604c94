"""Accounts whose credentials are in the database, as operators handle them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import settings as settings_module
from domain.send import Channel
from models.account import keep_test_accounts
from models.audit_entry import audit_entries
from models.team import default_team_id
from settings import Settings, SettingsError
from starter.credential_keys import key_ring
from starter.stored_accounts import KnownAccounts
from tests.builders import scalar

Run = Callable[..., tuple[int, Any]]

OLD = "one:" + base64.b64encode(b"1" * 32).decode()
NEW = "two:" + base64.b64encode(b"2" * 32).decode()
SECRET = "SG.never-to-be-seen"


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What comes by standard input; the key ring holds one key."""
    monkeypatch.setenv("CARILLON_CREDENTIAL_KEYS", OLD)
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.fixture
def two(run: Run, type_in: Callable[[str], None]) -> Run:
    """Commands, once the account sendgrid-two is stored."""
    type_in(f"CARILLON_SENDGRID_API_KEY={SECRET}\nsendgrid_region='eu'\n")
    code, said = run("accounts", "add", "sendgrid-two", "--provider", "sendgrid", "--rate", "5")
    assert (code, said) == (0, {"account": "sendgrid-two", "provider": "sendgrid", "added": True})
    return run


def known(engine: Engine, **given: object) -> dict[str, Any]:
    """What a worker with these settings has credentials for."""
    made = settings_module.load(_env_file=None, **given)
    with engine.connect() as connection:
        found = KnownAccounts(made).read(connection).values()
    return {account.config.key: account.config for account in found}


def audited(engine: Engine) -> list[tuple[str, str, dict[str, str]]]:
    """What was written down, in order; each entry says who and when."""
    with engine.connect() as connection:
        entries = audit_entries(connection, default_team_id(connection))
    assert all(entry.actor and entry.at for entry in entries)
    return [(entry.action, entry.subject, dict(entry.details)) for entry in reversed(entries)]


def test_a_stored_account_is_what_workers_use(two: Run, engine: Engine) -> None:
    config = known(engine, credential_keys=OLD)["sendgrid-two"]

    assert (config.provider, config.is_real) == ("sendgrid", True)
    assert (config.config.api_key, config.config.region) == (SECRET, "eu")
    assert audited(engine) == [
        ("account.added", "sendgrid-two", {"provider": "sendgrid", "key_id": "one"})
    ]


def test_a_list_says_since_when_and_under_which_key_and_nothing_else(
    two: Run, engine: Engine
) -> None:
    _, listed = two("accounts", "list")

    (account,) = [a for a in listed["accounts"] if a["key"] == "sendgrid-two"]
    assert account["credential_key_id"] == "one"
    assert account["credential_set_at"]
    assert SECRET not in str(listed)


def test_the_row_holds_nothing_in_clear_text(two: Run, engine: Engine) -> None:
    row = scalar(
        engine, "SELECT provider_account::text FROM provider_account WHERE key LIKE '%two'"
    )
    sealed = bytes(scalar(engine, "SELECT credential FROM provider_account WHERE key LIKE '%two'"))

    assert SECRET not in row
    assert SECRET.encode() not in sealed
    assert b"api_key" not in sealed


def test_credentials_moved_to_another_row_do_not_open(two: Run, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE provider_account a SET credential = b.credential, provider = 'sendgrid',"
                " credential_key_id = b.credential_key_id, credential_set_at = b.credential_set_at"
                " FROM provider_account b WHERE b.key = 'sendgrid-two' AND a.key = 'simulator'"
            )
        )

    assert known(engine, credential_keys=OLD).keys() == {"in_app", "sendgrid-two"}


def test_an_altered_row_does_not_open(two: Run, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE provider_account SET credential = set_byte(credential, 20,"
                " get_byte(credential, 20) # 1) WHERE key = 'sendgrid-two'"
            )
        )

    assert "sendgrid-two" not in known(engine, credential_keys=OLD)


def test_what_cannot_be_opened_is_logged_once_without_the_secret(
    two: Run, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = KnownAccounts(settings_module.load(_env_file=None, credential_keys=NEW))
    with engine.connect() as connection:
        accounts.read(connection)
        accounts.read(connection)

    (record,) = [r for r in caplog.records if r.getMessage() == "account.unreadable"]
    assert "holds no key 'one'" in vars(record)["reason"]
    assert SECRET not in str(vars(record))


def test_rotation_encrypts_with_the_first_key_and_changes_no_session(
    two: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scalar(engine, "SELECT credential_set_at FROM provider_account WHERE key LIKE '%two'")
    monkeypatch.setenv("CARILLON_CREDENTIAL_KEYS", f"{NEW},{OLD}")
    first = two("accounts", "rotate-keys")
    second = two("accounts", "rotate-keys")

    assert (first, second) == ((0, {"rotated": 1}), (0, {"rotated": 0}))
    assert known(engine, credential_keys=NEW)["sendgrid-two"].config.api_key == SECRET
    assert "sendgrid-two" not in known(engine, credential_keys=OLD)
    after = scalar(engine, "SELECT credential_set_at FROM provider_account WHERE key LIKE '%two'")
    assert after == before
    assert audited(engine)[1:] == [
        ("account.key_rotated", "sendgrid-two", {"key_id": "two", "key_id_before": "one"})
    ]


def test_rotation_without_the_old_key_changes_nothing(
    two: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_CREDENTIAL_KEYS", NEW)
    code, said = two("accounts", "rotate-keys")

    assert code == 1
    assert "'sendgrid-two' cannot be opened" in said["error"]
    assert "sendgrid-two" in known(engine, credential_keys=OLD)


def test_new_credentials_take_the_place_of_the_old(
    two: Run, engine: Engine, type_in: Callable[[str], None]
) -> None:
    type_in("sendgrid_api_key=SG.second")
    two("accounts", "add", "sendgrid-two", "--provider", "sendgrid", "--replace")

    assert known(engine, credential_keys=OLD)["sendgrid-two"].config.api_key == "SG.second"
    assert audited(engine)[1][0] == "account.credentials_replaced"


def test_a_removed_account_is_gone_from_workers_and_its_row_says_so(
    two: Run, engine: Engine
) -> None:
    code, _ = two("accounts", "remove", "sendgrid-two")
    _, listed = two("accounts", "list")

    (account,) = [a for a in listed["accounts"] if a["key"] == "sendgrid-two"]
    assert (code, account["state"], account["credential_key_id"]) == (0, "removed", None)
    assert scalar(engine, "SELECT credential FROM provider_account WHERE key LIKE '%two'") is None
    assert "sendgrid-two" not in known(engine, credential_keys=OLD)


def test_a_removed_account_may_be_added_again(
    two: Run, engine: Engine, type_in: Callable[[str], None]
) -> None:
    two("accounts", "remove", "sendgrid-two")
    type_in("smtp_url=smtps://u:p@relay.example")
    code, _ = two("accounts", "add", "sendgrid-two", "--provider", "smtp")

    assert code == 0
    assert known(engine, credential_keys=OLD)["sendgrid-two"].provider == "smtp"
    assert scalar(engine, "SELECT state FROM provider_account WHERE key LIKE '%two'") == "up"


@pytest.mark.parametrize(
    ("typed", "arguments", "says"),
    [
        (f"sendgrid_api_key={SECRET}", ("x", "--provider", "carrier-pigeon"), "no provider"),
        (f"sendgrid_api_key={SECRET}", ("x", "--provider", "log"), "no provider 'log'"),
        (f"sendgrid_api_key={SECRET}", ("A b", "--provider", "sendgrid"), "lower-case letters"),
        (f"sendgrid_api_key={SECRET}", ("in_app", "--provider", "sendgrid"), "The settings make"),
        (f"sendgrid_api_key={SECRET}", ("simulator", "--provider", "sendgrid"), "The settings"),
        (f"sendgrid_api_key={SECRET}", ("test-email", "--provider", "sendgrid"), "test keys"),
        (f"sendgrid_api_key={SECRET}", ("x", "--provider", "sendgrid", "--replace"), "no stored"),
        (f"sendgrid_api_key={SECRET}", ("x", "--provider", "sendgrid", "--rate", "-1"), "A rate"),
        (
            f"sendgrid_api_key={SECRET}",
            ("x", "--provider", "sendgrid", "--replace", "--rate", "5"),
            "keeps its rate",
        ),
        (SECRET, ("x", "--provider", "sendgrid"), "Line 1 of the credentials"),
        (f"smtp_url={SECRET}", ("x", "--provider", "sendgrid"), "No credentials were given"),
        (f"smtp_url={SECRET}", ("x", "--provider", "smtp"), "must start with smtp"),
        ("sendgrid_region=eu", ("x", "--provider", "sendgrid"), "needs sendgrid_api_key"),
        (f"sendgrid_api_key={SECRET}\nsendgrid_region=moon", ("x", "--provider", "sendgrid"), "eu"),
        (
            f"twilio_auth_token={SECRET}\ntwilio_account_sid=AC",
            ("x", "--provider", "twilio"),
            "SID",
        ),
    ],
)
def test_what_makes_no_account_is_refused_without_its_secret_and_changes_nothing(
    run: Run,
    engine: Engine,
    type_in: Callable[[str], None],
    typed: str,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    type_in(typed)
    code, said = run("accounts", "add", *arguments)

    assert code == 1
    assert says in said["error"]
    assert SECRET not in str(said)
    assert scalar(engine, "SELECT count(*) FROM provider_account WHERE credential IS NOT NULL") == 0
    assert audited(engine) == []


def test_a_worker_has_a_session_for_what_test_keys_send(engine: Engine) -> None:
    with engine.begin() as connection:
        keep_test_accounts(connection, default_team_id(connection))

    found = known(engine)

    assert {key for key in found if key.startswith("test-")} == {
        f"test-{channel.value}" for channel in Channel
    }
    assert not any(account.is_real for account in found.values())


def test_a_second_account_of_the_name_is_refused(two: Run, type_in: Callable[[str], None]) -> None:
    type_in("sendgrid_api_key=SG.second")
    code, said = two("accounts", "add", "sendgrid-two", "--provider", "sendgrid")

    assert code == 1
    assert "--replace" in said["error"]


def test_without_a_key_nothing_is_stored(
    run: Run, engine: Engine, type_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(f"sendgrid_api_key={SECRET}")
    monkeypatch.delenv("CARILLON_CREDENTIAL_KEYS")
    code, said = run("accounts", "add", "x", "--provider", "sendgrid")

    assert code == 1
    assert "CARILLON_CREDENTIAL_KEYS holds no key" in said["error"]
    assert scalar(engine, "SELECT count(*) FROM provider_account WHERE key = 'x'") == 0


@pytest.mark.parametrize(
    ("key", "says"),
    [("simulator", "is the settings'"), ("nobody", "There is no account 'nobody'")],
)
def test_what_is_not_stored_is_not_removed(run: Run, key: str, says: str) -> None:
    code, said = run("accounts", "remove", key)

    assert code == 1
    assert says in said["error"]


def test_a_removed_account_is_neither_resumed_nor_given_to_a_campaign(two: Run) -> None:
    two("accounts", "remove", "sendgrid-two")
    code, said = two("accounts", "resume", "sendgrid-two")

    assert code == 1
    assert "was removed" in said["error"]


def test_credentials_may_come_from_a_file(run: Run, engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "credentials.env"
    file.write_text(f'# ours\n\nexport SENDGRID_API_KEY="{SECRET}"\nCARILLON_SMTP_RATE=4\n')
    keys = tmp_path / "keys"
    keys.write_text(f"{NEW}\n{OLD}\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CARILLON_CREDENTIAL_KEYS_FILE", str(keys))
        code, _ = run("accounts", "add", "x", "--provider", "sendgrid", "--env-file", str(file))

    assert code == 0
    assert known(engine, credential_keys=NEW)["x"].config.api_key == SECRET


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("MTIz", "key number 1 must be ID:BASE64"),
        (f"{OLD},{OLD}", "'one' is there twice"),
        ("short:MTIz", "the key 'short' must be 32 bytes"),
        ("odd:not base64!", "the key 'odd' must be 32 bytes"),
    ],
)
def test_keys_that_are_none_are_refused_with_a_sentence(keys: str, says: str) -> None:
    given: Settings = settings_module.load(_env_file=None, credential_keys=keys)

    with pytest.raises(SettingsError, match=says):
        key_ring(given)


def test_keys_and_credentials_are_in_no_representation() -> None:
    given = settings_module.load(_env_file=None, credential_keys=OLD)

    shown = repr(given) + repr(key_ring(given))
    assert OLD.partition(":")[2] not in shown
    assert "111111" not in shown
