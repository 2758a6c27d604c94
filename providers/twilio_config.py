"""One Twilio account, as configuration."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import timedelta

API_URL = "https://api.twilio.com"
VERSION = "2010-04-01"
_ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")
_SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}")
_NUMBER = re.compile(r"\+[1-9][0-9]{4,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioConfig:
    """Raises ValueError, with one sentence, if it cannot work."""

    account_sid: str
    auth_token: str = field(repr=False)
    sender: str
    """Number, short code, alphanumeric name or messaging service: where a request names none."""
    callback_url: str = ""
    """Where Twilio reports what became of a message; our reference goes in its query. Empty: nowhere."""
    base_url: str = API_URL
    connections: int = 8
    request_timeout: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        if not _ACCOUNT_SID.fullmatch(self.account_sid):
            raise ValueError("The Twilio account SID must be AC and 32 hexadecimal digits.")
        if not self.auth_token.strip() or not self.auth_token.isprintable():
            # The official client would take TWILIO_AUTH_TOKEN from the environment instead.
            raise ValueError("The Twilio auth token is empty or holds control characters.")
        if not self.sender or not self.sender.isprintable():
            raise ValueError("Twilio needs a number or messaging service to send from.")
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError("The Twilio URL must start with http:// or https://.")

    @property
    def account_url(self) -> str:
        """The account's resource, without an ending."""
        return f"{self.base_url.rstrip('/')}/{VERSION}/Accounts/{self.account_sid}"

    @property
    def authorization(self) -> str:
        """The value of the header."""
        plain = f"{self.account_sid}:{self.auth_token.strip()}"
        return "Basic " + base64.b64encode(plain.encode()).decode()


def is_number(address: str) -> bool:
    """Whether it is a phone number as E.164, such as +14155550100."""
    return _NUMBER.fullmatch(address) is not None


def is_messaging_service(sender: str) -> bool:
    """Whether a sender is a pool of numbers of which Twilio chooses one."""
    return _SERVICE_SID.fullmatch(sender) is not None
