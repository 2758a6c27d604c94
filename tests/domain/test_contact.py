"""The normal forms of addresses, channel by channel."""

from __future__ import annotations

import pytest

from domain.contact import normalise_address
from domain.person import InvalidAddress
from domain.send import Channel


@pytest.mark.parametrize(
    ("channel", "raw", "normal"),
    [
        (Channel.EMAIL, " Ada@Example.ORG ", "ada@example.org"),
        (Channel.SMS, "+43 660 1234567", "+436601234567"),
        (Channel.PUSH, " fMt0Ken:APA91b-x_y ", "fMt0Ken:APA91b-x_y"),
        (
            Channel.WEBHOOK,
            "HTTPS://Hooks.Example.org/In?Key=A",
            "https://hooks.example.org/In?Key=A",
        ),
        (Channel.WEBHOOK, "https://hooks.example.org:443", "https://hooks.example.org/"),
        (Channel.WEBHOOK, "https://hooks.example.org:8443/x", "https://hooks.example.org:8443/x"),
        (Channel.WEB_PUSH, "https://push.example.org/e/AbC", "https://push.example.org/e/AbC"),
    ],
)
def test_an_address_has_one_form_that_is_its_own_form(
    channel: Channel, raw: str, normal: str
) -> None:
    assert normalise_address(channel, raw) == normal
    assert normalise_address(channel, normal) == normal


@pytest.mark.parametrize(
    ("channel", "raw", "why"),
    [
        (Channel.EMAIL, "ada", "@"),
        (Channel.SMS, "0660 1234567", "begins with +"),
        (Channel.PUSH, "", "visible"),
        (Channel.PUSH, "two words", "visible"),
        (Channel.PUSH, "x" * 2001, "at most 2,000"),
        (Channel.WEBHOOK, "http://hooks.example.org/", "https://"),
        (Channel.WEBHOOK, "https://user:word@hooks.example.org/", "no user"),
        (Channel.WEBHOOK, "https://hooks.example.org/#x", "#fragment"),
        (Channel.WEBHOOK, "https:///path", "no host"),
        (Channel.WEBHOOK, "https://hooks.example.org:99999/", "not a URL"),
        (Channel.WEBHOOK, "https://höoks.example.org/", "visible ASCII"),
        (Channel.WEBHOOK, "https://a b/", "visible"),
        (Channel.IN_APP, "anything", "no address to give"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(
    channel: Channel, raw: str, why: str
) -> None:
    with pytest.raises(InvalidAddress, match=why):
        normalise_address(channel, raw)
