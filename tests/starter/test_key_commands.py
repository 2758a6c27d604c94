"""carillon keys: made, listed, rotated and revoked from the command line."""

from __future__ import annotations

from sqlalchemy import Engine

from starter.api_keys import who_holds
from tests.starter.conftest import Run

SECRET = b"development-only"


def test_a_key_is_made_listed_rotated_and_revoked(run: Run, engine: Engine) -> None:
    code, made = run("keys", "create", "shop", "--scope", "messages:send", "--expires", "90d")
    assert code == 0
    known = who_holds(engine, SECRET, made["key"])
    assert known is not None
    assert known.scopes == {"messages:send"}

    code, new = run("keys", "rotate", made["id"], "--overlap", "1h")
    assert code == 0
    assert who_holds(engine, SECRET, made["key"]) is not None

    code, _ = run("keys", "revoke", made["id"])
    assert code == 0
    assert who_holds(engine, SECRET, made["key"]) is None
    assert who_holds(engine, SECRET, new["key"]) is not None

    _, listed = run("keys", "list")
    assert [line["is_good"] for line in listed["keys"]] == [True, False]
    assert new["key"][-43:] not in str(listed)


def test_what_cannot_be_a_key_is_refused_in_a_sentence(run: Run) -> None:
    for arguments in (
        ("create", "shop", "--scope", "everything"),
        ("create", " ", "--scope", "admin"),
        ("rotate", "key_0000000000001"),
        ("rotate", "snd_1"),
        ("revoke", "key_0000000000001"),
        ("create", "shop", "--scope", "admin", "--team", "nobody"),
    ):
        code, said = run("keys", *arguments)
        assert code in (1, 2), arguments
        assert said["error"], arguments
