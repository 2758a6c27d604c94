"""SMTP URLs, right and wrong."""

from __future__ import annotations

import pytest

from providers.smtp import SmtpConfig, parse_smtp_url
from providers.smtp_config import Tls


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("smtp://relay.example", "relay.example", 25, Tls.NONE),
        ("smtp://relay.example:2525", "relay.example", 2525, Tls.NONE),
        ("smtp://relay.example?starttls=1", "relay.example", 587, Tls.STARTTLS),
        ("smtps://relay.example", "relay.example", 465, Tls.IMPLICIT),
        ("smtp://u:p@relay.example", "relay.example", 587, Tls.STARTTLS),
        ("smtp://u:p@relay.example?starttls=0", "relay.example", 25, Tls.NONE),
        ("smtp://u:p@127.0.0.1:1025", "127.0.0.1", 1025, Tls.NONE),
        ("smtp://u:p@localhost:1025/", "localhost", 1025, Tls.NONE),
        ("smtp://[::1]:2525", "::1", 2525, Tls.NONE),
    ],
)
def test_host_port_and_tls(url: str, host: str, port: int, tls: Tls) -> None:
    config = parse_smtp_url(url)

    assert (config.host, config.port, config.tls) == (host, port, tls)
    assert config.verify


def test_credentials_are_percent_decoded_and_not_shown() -> None:
    config = parse_smtp_url("smtps://ann%40shop.example:p%2Fw%3A1@relay.example?verify=0")

    assert (config.user, config.password) == ("ann@shop.example", "p/w:1")
    assert not config.verify
    assert "p/w" not in repr(config)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relay.example:25",
        "http://relay.example",
        "smtp://",
        "smtp://:25",
        "smtp://relay.example:port",
        "smtp://relay.example:99999",
        "smtp://user@relay.example",
        "smtp://relay.example?tls=1",
        "smtp://relay.example?starttls=yes",
        "smtps://relay.example?starttls=1",
        "smtp://u:secret/word@relay.example",
        "smtp://u:secret@relay.example/path",
    ],
)
def test_wrong_urls_are_refused_in_one_sentence_without_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"^The SMTP URL .*[.?]$") as refused:
        parse_smtp_url(url)

    assert "secret" not in str(refused.value)


def test_defaults_are_safe() -> None:
    assert SmtpConfig(host="relay.example", port=25).verify
