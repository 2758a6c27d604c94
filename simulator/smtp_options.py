"""What an SMTP server offers and demands; the control page can change some of it meanwhile."""

from __future__ import annotations

import secrets
import ssl
from dataclasses import dataclass

from simulator.config import SimulatorConfig


@dataclass(slots=True, kw_only=True)
class SmtpOptions:
    """Shared by all connections."""

    user: str
    password: str
    is_auth_required: bool
    offers_8bitmime: bool
    size_bytes: int
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, config: SimulatorConfig) -> SmtpOptions:
        """Raises OSError or ssl.SSLError when the certificate cannot be read."""
        return cls(
            user=config.smtp_user,
            password=config.smtp_password,
            is_auth_required=config.is_smtp_auth_required,
            offers_8bitmime=config.offers_8bitmime,
            size_bytes=config.smtp_size_bytes,
            tls=_tls_of(config),
        )

    def extensions(self, *, is_encrypted: bool) -> list[str]:
        """The lines of an EHLO answer."""
        offered = ["PIPELINING", f"SIZE {self.size_bytes}"]
        if self.tls is not None and not is_encrypted:
            offered.append("STARTTLS")
        offered.append("AUTH PLAIN LOGIN")
        if self.offers_8bitmime:
            offered.append("8BITMIME")
        return [*offered, "SMTPUTF8", "ENHANCEDSTATUSCODES"]

    def is_right(self, user: str, password: str) -> bool:
        """Whether these credentials are; any are when none are configured."""
        if not self.user:
            return bool(user)
        return secrets.compare_digest(
            f"{user}\0{password}".encode(), f"{self.user}\0{self.password}".encode()
        )


def _tls_of(config: SimulatorConfig) -> ssl.SSLContext | None:
    if config.smtp_certificate is None or config.smtp_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.smtp_certificate, config.smtp_key)
    return context
