"""What a simulator process is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """Ports of 0 mean any free one; the line `simulator.ready` names those that were taken."""

    data_dir: Path
    """The log of everything received is `<data_dir>/simulator/received.jsonl`."""
    host: str = "127.0.0.1"
    port: int = 8610
    """Inbox and control pages."""
    sendgrid_port: int = 8611
    smtp_port: int = 8612
    twilio_port: int = 8613
    webhook_port: int = 8614
    faults: Path | None = None
    """A JSON list of fault rules that stand from the start."""
    sendgrid_rate: int = 0
    """mail/send requests a second before 429; 0: no limit."""
    twilio_rate: int = 0
    """Messages a second before 429; 0: no limit."""
    smtp_user: str = ""
    """Empty: every user and password is right."""
    smtp_password: str = ""
    is_smtp_auth_required: bool = False
    smtp_certificate: Path | None = None
    """PEM files; with both of them STARTTLS is offered."""
    smtp_key: Path | None = None
    offers_8bitmime: bool = True
    smtp_size_bytes: int = 25 * MEBIBYTE
    """Largest message, as SIZE announces it."""

    @property
    def journal_path(self) -> Path:
        return self.data_dir / "simulator" / "received.jsonl"
