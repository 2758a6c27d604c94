"""`python -m simulator`: the stand-ins as a process of their own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from simulator.config import SimulatorConfig
from simulator.server import run


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; 1 when it could not start, with the reason on stderr."""
    config = SimulatorConfig(**vars(_parser().parse_args(arguments)))
    try:
        run(config)
    except (OSError, ValidationError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="Stand-ins for SendGrid, SMTP, Twilio and webhook endpoints, with an inbox.",
        argument_default=argparse.SUPPRESS,
    )
    option = parser.add_argument
    option("--data-dir", type=Path, required=True, help="received.jsonl goes to its simulator/")
    option("--host", help="address to listen on (127.0.0.1)")
    option("--port", type=int, help="inbox and control (8610; 0: any)")
    option("--sendgrid-port", type=int, help="SendGrid's API (8611)")
    option("--smtp-port", type=int, help="SMTP (8612)")
    option("--twilio-port", type=int, help="Twilio's API (8613)")
    option("--webhook-port", type=int, help="receiver of webhooks (8614)")
    option("--faults", type=Path, help="JSON list of fault rules")
    option("--sendgrid-rate", type=int, help="mail/send requests a second before 429 (0: no limit)")
    option("--twilio-rate", type=int, help="messages a second before 429 (0: no limit)")
    option("--smtp-user", help="the user that AUTH takes (any)")
    option("--smtp-password", help="and the password")
    option("--smtp-auth-required", dest="is_smtp_auth_required", action="store_true")
    option("--smtp-certificate", type=Path, help="PEM file; with --smtp-key STARTTLS is offered")
    option("--smtp-key", type=Path, help="PEM file")
    option("--no-8bitmime", dest="offers_8bitmime", action="store_false")
    option("--smtp-size-bytes", type=int, help="largest message (26214400)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
