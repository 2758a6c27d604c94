"""`campaign start --follow`: a progress bar that survives pauses, and restarts of anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from domain.outcome import Outcome
from models.campaign import Campaign, find_campaign
from models.progress import Progress as Stands
from models.progress import progress

LOOK_SECONDS = 0.5


@dataclass(slots=True)
class _Seen:
    """The last look: when, and how many were final."""

    at: float
    final: int
    per_second: float = 0.0

    def rate(self, final: int) -> float:
        """Messages a second, smoothed over a few looks."""
        now = time.monotonic()
        if now - self.at >= LOOK_SECONDS:
            latest = (final - self.final) / (now - self.at)
            self.per_second = latest if not self.per_second else (2 * self.per_second + latest) / 3
            self.at, self.final = now, final
        return self.per_second


def follow(engine: Engine, send_id: int, console: Console) -> Campaign:
    """Show the campaign's progress until it is closed; Ctrl-C only ends the watching."""
    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
        console=console,
        transient=False,
    ) as bar:
        task = bar.add_task("starting", total=None, rate="", remark="")
        seen = _Seen(time.monotonic(), 0)
        while True:
            try:
                with engine.connect() as connection:
                    campaign = find_campaign(connection, send_id)
                    stands = progress(connection, send_id)
            except DBAPIError:
                bar.update(task, remark="the database is away; waiting")
            else:
                _show(bar, task, campaign, stands, seen)
                if campaign.closed_at is not None:
                    return campaign
            time.sleep(LOOK_SECONDS)


def _per_second(campaign: Campaign, stands: Stands, seen: _Seen) -> float:
    """Now, while it runs; over all, once it is closed."""
    if campaign.closed_at is None or campaign.started_at is None:
        return seen.rate(stands.final)
    return stands.final / max((campaign.closed_at - campaign.started_at).total_seconds(), 0.001)


def _show(bar: Progress, task: TaskID, campaign: Campaign, stands: Stands, seen: _Seen) -> None:
    remarks = []
    if unknown := stands.of(Outcome.UNKNOWN):
        remarks.append(f"{unknown:,} waiting for proof")
    if rejected := stands.of(Outcome.REJECTED):
        remarks.append(f"{rejected:,} rejected")
    bar.update(
        task,
        description=campaign.state.value,
        total=stands.messages or None,
        completed=stands.final,
        rate=f"{_per_second(campaign, stands, seen):,.0f}/s",
        remark=", ".join(remarks),
    )
