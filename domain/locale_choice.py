"""In which language somebody is told something, of those that a template has."""

from __future__ import annotations

from collections.abc import Collection

EVERYBODY = ""
"""The locale of what is said to everybody whose language a template does not have."""


def choose_locale(available: Collection[str], wanted: str | None) -> str:
    """The recipient's locale, else its language, else EVERYBODY's; of de_AT: de_AT, de, "".

    Locales are written as Babel writes them. What is meant for one country is not taken for another:
    de_AT is nobody's but Austrians'.
    """
    name = wanted or ""
    while name and name not in available:
        name = name.rpartition("_")[0]
    return name
