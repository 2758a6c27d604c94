"""The demo's single message: a customer whom two channels do not reach, and the trace that says so."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text
from sqlalchemy import Engine

import examples
from domain.identifier import public_id
from domain.send import Channel
from models.database import in_transaction
from models.request_audit import request_imbalances
from models.team import default_team_id
from settings import Settings
from starter.commands.trace import trace_lines
from starter.messages import Carillon
from starter.people import PersonWish, set_person
from starter.templates import publish
from starter.trace import trace

CUSTOMER = "customer-42"
# Twilio's own number for a customer who has no mobile telephone; the simulator knows it, too.
NO_MOBILE = "+15005550009"
PLAN = "in_app:read/3s,sms,email"
WAIT_SECONDS = 60.0


async def send_one(engine: Engine, settings: Settings, console: Console) -> bool:
    """Send it, wait for its end, show its trace. Whether the accounts of single messages balance."""
    label = publish(engine, Path(examples.__file__).parent / "order-shipped")
    addresses = {Channel.EMAIL: "customer-42@books.example.org", Channel.SMS: NO_MOBILE}
    wish = PersonWish(texts={"first_name": "Ines"}, addresses=addresses)
    set_person(engine, CUSTOMER, wish)
    console.print(
        f"\nA single message ({label}) to {CUSTOMER}: inside the application; not read within 3 s,"
        " then by SMS; refused, then by e-mail."
    )
    carillon = Carillon(settings)
    sent = await carillon.send(
        "order-shipped",
        to=CUSTOMER,
        variables={"order": "A-17", "books": ["The Bell", "Campanology"]},
        plan=PLAN,
        idempotency_key=f"demo-{time.time():.0f}",
    )
    await asyncio.to_thread(_wait_until_ended, carillon, sent.send_id)
    carillon.close()
    for line in trace_lines(trace(engine, settings, sent.send_id, 1)):
        console.print(Text(f"  {line}"), soft_wrap=True)
    again = f"CARILLON_DATA_DIR=.carillon/demo ./carillon trace {sent.public_id}"
    console.print(Text("  see it again  ").append(again, style="cyan"), soft_wrap=True)
    problems = in_transaction(engine, lambda c: request_imbalances(c, default_team_id(c)))
    for send_id, found in problems.items():
        console.print(f"{public_id('snd_', send_id)}: {'; '.join(found)}")
    return not problems


def _wait_until_ended(carillon: Carillon, send_id: int) -> None:
    """Return when nothing of the send is owed any more, or after a minute."""
    end = time.monotonic() + WAIT_SECONDS
    while not carillon.has_ended(send_id) and time.monotonic() < end:
        time.sleep(0.1)
