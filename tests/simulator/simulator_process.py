"""A real simulator process for tests, and clients close enough to the wire to see what it does."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

START_SECONDS = 20
READY = re.compile(
    r"simulator\.ready inbox_port=(\d+) sendgrid_port=(\d+) smtp_port=(\d+)"
    r" twilio_port=(\d+) webhook_port=(\d+)"
)
KEY = "SG.test.abcdefghijklm"


@dataclass
class SimulatorProcess:
    """One process on free ports; `data_dir` survives it."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    inbox_port: int
    sendgrid_port: int
    smtp_port: int
    twilio_port: int
    webhook_port: int
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=5, trust_env=False))
    """Thread-safe; one for all tests, because making one costs more than most of them."""

    @classmethod
    def start(cls, data_dir: Path, *options: str) -> Self:
        data_dir.mkdir(parents=True, exist_ok=True)
        log = data_dir / "simulator.log"
        ports = ["--port", "0", "--sendgrid-port", "0", "--smtp-port", "0"]
        ports += ["--twilio-port", "0", "--webhook-port", "0"]
        argv = [sys.executable, "-m", "simulator", "--data-dir", str(data_dir), *ports, *options]
        with log.open("wb") as out:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=Path(__file__).parents[2],
            )
        found = _wait_ready(process, log)
        inbox, sendgrid, smtp, twilio, webhook = map(int, found.groups())
        return cls(process, data_dir, inbox, sendgrid, smtp, twilio, webhook)

    @property
    def inbox_url(self) -> str:
        return f"http://127.0.0.1:{self.inbox_port}"

    @property
    def sendgrid_url(self) -> str:
        return f"http://127.0.0.1:{self.sendgrid_port}"

    @property
    def twilio_url(self) -> str:
        return f"http://127.0.0.1:{self.twilio_port}"

    @property
    def webhook_url(self) -> str:
        return f"http://127.0.0.1:{self.webhook_port}/hook"

    @property
    def log_text(self) -> str:
        return (self.data_dir / "simulator.log").read_text("utf-8")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def journal(self) -> list[dict[str, Any]]:
        path = self.data_dir / "simulator" / "received.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    def recipients(self) -> list[str]:
        return [line["to"] for line in self.journal()]

    def faults(self, *rules: dict[str, Any]) -> None:
        self.client.post(f"{self.inbox_url}/control/faults", json=list(rules)).raise_for_status()

    def no_faults(self) -> None:
        self.client.delete(f"{self.inbox_url}/control/faults").raise_for_status()

    def fresh(self) -> None:
        """No faults, no messages, the SMTP server's usual offers."""
        self.no_faults()
        self.client.post(f"{self.inbox_url}/control/reset").raise_for_status()
        self.smtp_options(offers_8bitmime=True, is_auth_required=False, size_bytes=1_000_000)

    def smtp_options(self, **changes: bool | int) -> None:
        self.client.post(f"{self.inbox_url}/control/smtp", json=changes).raise_for_status()

    def send(self, body: object, key: str = KEY, timeout: float = 5) -> httpx.Response:
        return self.client.post(
            f"{self.sendgrid_url}/v3/mail/send",
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout,
        )

    def smtp(self) -> SmtpTalk:
        return SmtpTalk(self.smtp_port)


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> re.Match[str]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = READY.search(log.read_text("utf-8"))
        if found:
            return found
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"the simulator did not start: {log.read_text('utf-8')}")


class SmtpTalk:
    """Bytes to and from the SMTP port, without a client's own opinions."""

    def __init__(self, port: int) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.reader = self.connection.makefile("rb")
        self.banner = self.reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        self.connection.close()

    def write(self, data: bytes) -> None:
        self.connection.sendall(data)

    def reply(self) -> str:
        """One reply, its lines joined; empty when the server closed."""
        lines = []
        while True:
            line = self.reader.readline().decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, command: str) -> str:
        self.write(command.encode() + b"\r\n")
        return self.reply()

    def greet(self) -> str:
        return self.ask("EHLO test.example")

    def begin(self, *recipients: str) -> str:
        """A transaction up to the answer of DATA."""
        self.greet()
        self.ask("MAIL FROM:<sender@example.org>")
        for recipient in recipients or ("anna@example.com",):
            self.ask(f"RCPT TO:<{recipient}>")
        return self.ask("DATA")

    def finish(self, message: bytes) -> str:
        self.write(message + b".\r\n")
        return self.reply()

    def deliver(self, message: bytes, *recipients: str) -> str:
        self.begin(*recipients)
        return self.finish(message)


def a_message(
    subject: str = "Hello", reference: str = "ref-1", body: str = "Good morning\r\n"
) -> bytes:
    return (
        f"Subject: {subject}\r\nMessage-ID: <{reference}@mail.example.org>\r\n"
        f"From: sender@example.org\r\nTo: anna@example.com\r\n\r\n{body}"
    ).encode()


def a_person(address: str = "anna@example.com", **fields: object) -> dict[str, Any]:
    return {"to": [{"email": address}], **fields}


def a_body(*people: dict[str, Any], **changes: object) -> dict[str, Any]:
    """A mail/send body; a change to None takes the field out."""
    body: dict[str, Any] = {
        "from": {"email": "sender@example.org", "name": "Sender"},
        "subject": "Hello",
        "content": [
            {"type": "text/plain", "value": "Good morning"},
            {"type": "text/html", "value": "<p>Good morning</p>"},
        ],
        "personalizations": list(people or (a_person(),)),
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


def people(addresses: Sequence[str]) -> list[dict[str, Any]]:
    return [a_person(address) for address in addresses]
