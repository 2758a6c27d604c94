"""What may be stored about a person."""

from __future__ import annotations

from collections.abc import Callable

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain import person
from domain.person import (
    InvalidAddress,
    InvalidValue,
    is_attribute_name,
    normalise_email,
    normalise_external_id,
    normalise_locale,
    normalise_phone,
    normalise_time_zone,
    wish_of,
)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("ada@example.org", "ada@example.org"),
        ("  Ada.Lovelace@Example.ORG ", "ada.lovelace@example.org"),
        ("o'neil+news@mail.example.co.uk", "o'neil+news@mail.example.co.uk"),
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("A@BÜCHER.example", "a@bücher.example"),
        ("Müller@example.org", "müller@example.org"),
        ("mu\u0308ller@example.org", "müller@example.org"),
        ("x" * 64 + "@example.org", "x" * 64 + "@example.org"),
    ],
)
def test_an_address_has_one_normal_form(raw: str, normal: str) -> None:
    assert normalise_email(raw) == normal
    assert normalise_email(normal) == normal


@pytest.mark.parametrize(
    "raw",
    [
        "", "   ", "ada", "@example.org", "ada@", "ada@@example.org", "ada lovelace@example.org",
        "ada@example", "ada@-example.org", "ada@example..org", ".ada@example.org", "ada.@example.org",
        "a..b@example.org", "ada@localhost", "ada@thing.test", "ada@[127.0.0.1]", "ada@127.0.0.1",
        "Ada <ada@example.org>", "ada@example.org,bob@example.org", "ada\n@example.org",
        "ada@example.org\nBcc: eve@example.org", "x" * 65 + "@example.org",
        "a@" + "x" * 64 + ".org", "a@" + "x." * 130 + "org", "@" * 5_000, '"a b"@example.org',
        "ada@exam\u200bple.org", "ada\0@example.org",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_a_reason(raw: str) -> None:
    with pytest.raises(InvalidAddress, match=r"\w"):
        normalise_email(raw)


def test_a_suppression_stops_an_address_however_it_is_written() -> None:
    assert normalise_email("Ada@X.org") == normalise_email("ada@x.ORG")


_LOCAL = st.text("abzAZ09!#$%&'*+-/=?^_`{|}~.. \"@éİK\u0308\t", max_size=70)
_DOMAIN = st.one_of(
    st.sampled_from(["example.org", "EXAMPLE.Org", "xn--bcher-kva.example", "Bücher.example"]),
    st.text("abzAZ09-..é@[]_xn", max_size=40).map(lambda text: f"{text}.org"),
)


def _outcome(rule: Callable[[str], str], raw: str) -> str | None:
    try:
        return rule(raw)
    except InvalidAddress:
        return None


@settings(max_examples=400, deadline=None)
@given(_LOCAL, _DOMAIN)
@example("x" * 65, "example.org")
@example("\u212a", "example.org")
@example("a", "x" * 63 + "." + "y" * 63 + "." + "z" * 63 + "." + "w" * 57 + ".org")
@example("abc", "x" * 63 + "." + "y" * 63 + "." + "z" * 63 + "." + "w" * 55 + ".org")
def test_the_short_way_for_addresses_equals_email_validator(local: str, domain: str) -> None:
    raw = f"{local}@{domain}"

    assert _outcome(normalise_email, raw) == _outcome(person._validated_address, raw.strip())


@settings(max_examples=300, deadline=None)
@given(_LOCAL, _DOMAIN)
def test_a_normal_form_is_its_own(local: str, domain: str) -> None:
    normal = _outcome(normalise_email, f"{local}@{domain}")

    if normal is not None:
        assert normalise_email(normal) == normal


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("+436601234567", "+436601234567"),
        (" +43 660 123-45-67 ", "+436601234567"),
        ("+43 (0) 660 1234567", "+436601234567"),
        ("+39 06 69812345", "+390669812345"),
        ("+1 (202) 555-0123", "+12025550123"),
        ("+80012345678", "+80012345678"),
    ],
)
def test_a_telephone_number_is_stored_as_e164(raw: str, normal: str) -> None:
    assert normalise_phone(raw) == normal


@pytest.mark.parametrize(
    "raw", ["", "06601234567", "+431", "+0123456789", "+999123456789", "hello", "+" + "4" * 60]
)
def test_what_is_no_telephone_number_is_refused(raw: str) -> None:
    with pytest.raises(InvalidAddress):
        normalise_phone(raw)


_COUNTRIES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
_EXAMPLES = [
    phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    if (number := phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE))
]


@settings(max_examples=600, deadline=None)
@given(
    st.one_of(
        st.sampled_from(_EXAMPLES),
        st.builds(
            lambda number, digits: number[: -len(digits)] + digits,
            st.sampled_from(_EXAMPLES),
            st.text("0123456789", min_size=1, max_size=5),
        ),
        st.builds(
            lambda country, rest: f"+{country}{rest}",
            st.sampled_from(_COUNTRIES),
            st.text("0123456789", min_size=3, max_size=14),
        ),
    )
)
def test_the_short_way_for_telephone_numbers_equals_parsing(raw: str) -> None:
    if person._is_plain_number(raw):
        assert person._parsed_number(raw) == raw


def test_the_short_way_takes_an_example_of_nearly_every_region() -> None:
    taken = sum(map(person._is_plain_number, _EXAMPLES))

    assert taken > 0.85 * len(_EXAMPLES)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [("de", "de"), ("de-AT", "de_AT"), ("de_at", "de_AT"), ("zh-Hans-CN", "zh_Hans_CN")],
)
def test_a_locale_is_written_as_babel_does(raw: str, normal: str) -> None:
    assert normalise_locale(raw) == normal


@pytest.mark.parametrize("raw", ["", "xx", "x", "german", "de-AT-x" * 20, "../../etc/passwd"])
def test_what_babel_does_not_know_is_no_locale(raw: str) -> None:
    with pytest.raises(InvalidValue):
        normalise_locale(raw)


def test_a_time_zone_is_one_of_iana() -> None:
    assert normalise_time_zone(" Asia/Kathmandu ") == "Asia/Kathmandu"
    for raw in ("", "CET+1", "Vienna", "europe/vienna", "../../etc/passwd"):
        with pytest.raises(InvalidValue):
            normalise_time_zone(raw)


@pytest.mark.parametrize(
    ("raw", "wish"),
    [("yes", True), ("TRUE", True), (" 1 ", True), ("no", False), ("False", False), ("0", False), ("", None)],
)  # fmt: skip
def test_a_wish_is_yes_or_no_or_nothing(raw: str, wish: bool | None) -> None:
    assert wish_of(raw) is wish


@pytest.mark.parametrize("raw", ["maybe", "y", "2", "nein"])
def test_other_wishes_are_refused(raw: str) -> None:
    with pytest.raises(InvalidValue, match="yes or no"):
        wish_of(raw)


def test_an_external_id_fits_the_index() -> None:
    assert normalise_external_id(" p-1 ") == "p-1"
    assert normalise_external_id("𝔘" * 255) == "𝔘" * 255
    with pytest.raises(InvalidValue):
        normalise_external_id("x" * 256)


def test_an_attribute_name_is_an_identifier() -> None:
    assert all(map(is_attribute_name, ("plan", "_a", "Plan_2")))
    assert not any(
        map(is_attribute_name, ("", "2nd", "first name", "a-b", "größe", "a\n", "{{x}}"))
    )
