"""Where a stranger's URL may not lead us."""

from __future__ import annotations

import pytest

from domain.webhook_address import is_public, why_refused


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "",
        "localhost",
        "2130706433",
    ],
)
def test_an_address_that_is_not_anybodys_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111"]
)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/x",
        "https://hooks.example",
        "https://hooks.example:8443/x?y=z#f",
        "https://xn--bcher-kva.example/",
        "https://[2606:4700::1111]/",
        "https://8.8.8.8:443/",
    ],
)
def test_https_to_a_web_port_is_taken(url: str) -> None:
    assert why_refused(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "//hooks.example",
        "http://hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "https://",
        "https:///path",
        "https://user@hooks.example/",
        "https://hooks.example@127.0.0.1/",
        "https://user:pass@hooks.example/",
        "https://hooks.example:22/",
        "https://hooks.example:8080/",
        "https://hooks.example:port/",
        "https://hooks.example:99999/",
        "https://hooks.example\\@127.0.0.1/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nX-Evil: 1",
        "https://hooks.example/\x00",
        "https://bücher.example/",
        "https://127.0.0.1%2f.example/",
        "https://[::1/",
        "https://hooks.example/" + "a" * 2000,
    ],
)
def test_any_other_url_is_refused_with_a_sentence_that_does_not_repeat_it(url: str) -> None:
    refusal = why_refused(url)

    assert refusal.endswith(".")
    assert "hooks.example" not in refusal


def test_development_may_call_this_machine() -> None:
    assert why_refused("http://127.0.0.1:8614/hook", allow_private=True) == ""
    assert why_refused("file:///etc/passwd", allow_private=True)
