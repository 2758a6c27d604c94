"""Where the API is and with which key: from arguments, else from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import httpx

from carillon_client.errors import NotConfigured

URL_VARIABLE = "CARILLON_URL"
KEY_VARIABLE = "CARILLON_API_KEY"


@dataclass(frozen=True, slots=True)
class Address:
    """Both, checked."""

    base_url: str
    api_key: str = field(repr=False)

    @staticmethod
    def of(base_url: str | None, api_key: str | None) -> Address:
        """What was given, else what the environment says. Raises NotConfigured."""
        url = base_url if base_url is not None else os.environ.get(URL_VARIABLE, "")
        key = api_key if api_key is not None else os.environ.get(KEY_VARIABLE, "")
        return Address(_checked_url(url.strip()), _checked_key(key.strip()))

    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        return {
            "Authorization": f"Bearer {self.api_key}",
            "Accept": "application/json",
            "User-Agent": f"carillon-client/{_version()}",
        }


def _checked_url(given: str) -> str:
    if not given:
        raise NotConfigured(f"Say where Carillon's API is: base_url, or {URL_VARIABLE}.")
    try:
        parsed = httpx.URL(given)
    except httpx.InvalidURL as error:
        raise NotConfigured(f"'{given}' is no address of Carillon's API: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise NotConfigured(f"'{given}' is no address of Carillon's API: write http(s)://host.")
    # The API says where it is with its version; paths here have it, too.
    return given.rstrip("/").removesuffix("/v1")


def _checked_key(given: str) -> str:
    if not given:
        raise NotConfigured(
            f"Give an API key (carillon keys create …): api_key, or {KEY_VARIABLE}."
        )
    if not given.isascii() or not given.isprintable() or " " in given:
        raise NotConfigured("The API key holds characters that no key has.")
    return given


def _version() -> str:
    try:
        return version("carillon-client")
    except PackageNotFoundError:  # a checkout on the path
        return "dev"
