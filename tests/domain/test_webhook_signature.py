"""Signatures by Standard Webhooks."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from domain.webhook_signature import endpoint_secret, sign, verify

# The vector that the specification's own libraries are tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()

NOW = datetime.fromtimestamp(TIMESTAMP, UTC)


def is_verified(
    *secrets: str,
    message_id: str = MESSAGE_ID,
    timestamp: str = str(TIMESTAMP),
    signature: str = SIGNATURE,
    body: bytes = BODY,
    now: datetime = NOW,
) -> bool:
    headers = (message_id, timestamp, signature)
    return verify(secrets or (SECRET,), headers, body, now=now)


def test_signs_as_the_specification_does() -> None:
    assert sign([SECRET], MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE


def test_verifies_what_the_specification_signed() -> None:
    assert is_verified()


def test_a_secret_may_come_without_its_prefix() -> None:
    assert sign([SECRET.removeprefix("whsec_")], MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE


@pytest.mark.parametrize(
    "changes",
    [
        {"message_id": "msg_other"},
        {"timestamp": str(TIMESTAMP + 1)},
        {"body": BODY + b" "},
        {"signature": ""},
        {"signature": "v1,"},
        {"signature": "v1"},
        {"signature": SIGNATURE.removeprefix("v1,")},
        {"signature": SIGNATURE.replace("v1,", "v1a,")},
        {"signature": "v1,ünïcode"},
        {"timestamp": ""},
        {"timestamp": "soon"},
        {"timestamp": "-1"},
        {"timestamp": "٣"},
        {"timestamp": "9" * 40},
    ],
)
def test_whatever_is_changed_or_malformed_is_not_verified(changes: dict[str, str | bytes]) -> None:
    assert not is_verified(**changes)  # type: ignore[arg-type]  # names and types are the table's


@pytest.mark.parametrize("apart", [timedelta(minutes=6), -timedelta(minutes=6)])
def test_a_message_from_another_time_is_not_verified(apart: timedelta) -> None:
    assert not is_verified(now=NOW + apart)
    assert is_verified(now=NOW + apart * 0.8)


def test_during_a_rotation_old_and_new_secret_are_good() -> None:
    both = sign([OTHER, SECRET], MESSAGE_ID, TIMESTAMP, BODY)

    assert is_verified(SECRET, signature=both)
    assert is_verified(OTHER, signature=both)
    assert is_verified(OTHER, SECRET, signature=SIGNATURE)
    assert not is_verified(OTHER, signature=SIGNATURE)


def test_a_secret_that_is_not_base64_is_said() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        sign(["whsec_?"], MESSAGE_ID, TIMESTAMP, BODY)


def test_each_endpoint_has_a_secret_of_its_own_and_keeps_it() -> None:
    one = endpoint_secret("master", "https://a.example/hook")

    assert one == endpoint_secret("master", "https://a.example/hook")
    assert one != endpoint_secret("master", "https://b.example/hook")
    assert one != endpoint_secret("other", "https://a.example/hook")
    assert one.startswith("whsec_")
    assert 24 <= len(base64.b64decode(one.removeprefix("whsec_"))) <= 64
