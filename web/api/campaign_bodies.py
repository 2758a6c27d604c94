"""The bodies of campaigns: what is asked for, and what is answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.contact import MAX_ADDRESS_CHARACTERS, normalise_address
from domain.local_time import Window, parse_local
from domain.send import Channel, MessageClass, OnUnknown, Priority, SendState
from models.campaign import Campaign
from models.preflight import Preflight
from starter.campaigns import Wish
from starter.person_upsert import InvalidField
from web.api.moment import Moment

T = TypeVar("T")

MOST_TESTS = 5
"""One after the other while the caller waits."""

Key = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Rate = Annotated[float, Field(gt=0, lt=1e9, description="Messages a second.")]


def _read(pointer: str, rule: Callable[[str], T], given: str) -> T:
    """What the words mean. Raises InvalidField: the schema takes any text."""
    try:
        return rule(given)
    except ValueError as error:
        raise InvalidField(pointer, str(error)) from error


class CreateCampaignRequest(BaseModel):
    """A campaign to be made, as a draft."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "May news", "topic": "newsletter", "template": "news"}]
        },
    )

    name: str = Field(min_length=1, max_length=200, description="What people call it.")
    topic: Key = Field(description="The topic whose subscribers get it.")
    template: Key = Field(description="KEY, which means its newest version now, or KEY@N.")
    channel: Channel = Field(Channel.EMAIL, description="email or sms.")
    account: Key | None = Field(
        None, description="The account to send with; none: the first of the channel."
    )
    rate: Rate | None = Field(None, description="Messages a second; none: as the account allows.")
    on_unknown: OnUnknown | None = Field(
        None, description="When a provider's answer is lost: send again, or leave it."
    )
    priority: Annotated[str, StringConstraints(max_length=20)] = Field(
        "normal", description="critical (passes quiet hours and caps), high, normal or low."
    )
    window: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        None, description="When it may reach people, on their clocks: 09:00-21:00."
    )
    local_at: Annotated[str, StringConstraints(max_length=30)] | None = Field(
        None, description="To each when it is that time where they are: 2026-12-24T18:00."
    )

    def wish(self, *, is_test: bool) -> Wish:
        """What the layers below call it."""
        return Wish(
            name=self.name,
            topic=self.topic,
            template=self.template,
            channel=self.channel,
            account=self.account,
            rate=self.rate,
            on_unknown=self.on_unknown,
            priority=_read("/priority", Priority.parse, self.priority),
            window=None if self.window is None else _read("/window", Window.parse, self.window),
            local_at=None
            if self.local_at is None
            else _read("/local_at", parse_local, self.local_at),
            is_test=is_test,
        )


class StartCampaignRequest(BaseModel):
    """When a campaign is to start."""

    model_config = ConfigDict(extra="forbid")

    at: Moment | None = Field(
        None, description="It starts by itself then; none: now, or as its `local_at` says."
    )

    def moment(self) -> datetime | None:
        """The time, of a year that can be meant. Raises InvalidField."""
        if self.at is not None and not 1970 <= self.at.year <= 2200:
            raise InvalidField("/at", "The time lies between 1970 and 2200.")
        return self.at


class RateRequest(BaseModel):
    """How fast a campaign may go."""

    model_config = ConfigDict(extra="forbid")

    rate: Rate | None = Field(description="Messages a second; null: as fast as its account allows.")


class ResolveCampaignRequest(BaseModel):
    """What becomes of the messages whose outcome nobody knows."""

    model_config = ConfigDict(extra="forbid")

    on_unknown: OnUnknown = Field(description="Send to them again, or leave it at unconfirmed.")


class TestCampaignRequest(BaseModel):
    """Who gets the message as a test."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"to": ["ada@example.org"]}]}
    )

    to: list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_ADDRESS_CHARACTERS)]] = (
        Field(min_length=1, max_length=MOST_TESTS, description="Addresses on its channel.")
    )

    def addresses(self, channel: Channel) -> list[str]:
        """In normal form, each once. Raises InvalidField."""
        found = [
            _read(f"/to/{place}", partial(normalise_address, channel), raw)
            for place, raw in enumerate(self.to)
        ]
        return list(dict.fromkeys(found))


class CampaignResponse(BaseModel):
    """A campaign and how far it is."""

    id: str
    name: str
    state: SendState
    test: bool = Field(description="Made by a test key: it ends in a log.")
    message_class: MessageClass
    topic: str
    template: str
    channel: str
    account: str
    on_unknown: OnUnknown
    priority: str
    rate: float | None
    window: str | None
    local_at: str | None = Field(description="On everybody's own clock, without a zone.")
    created_at: datetime
    due_at: datetime | None = Field(description="When it starts by itself.")
    started_at: datetime | None
    closed_at: datetime | None = Field(description="Null as long as anything may still happen.")
    messages: int = Field(description="Written when the audience is frozen; 0 before.")
    owed: int
    accepted: int
    rejected: int
    unknown: int
    unconfirmed: int
    expired: int
    cancelled: int
    skipped: dict[str, int] = Field(description="By reason.")
    excluded: dict[str, int] = Field(
        description="Subscriptions of the topic that were not in the audience, by state."
    )
    deferred: dict[str, int] = Field(description="Of the owed, who waits for later, by reason.")


class ResolvedCampaignResponse(CampaignResponse):
    """The campaign after a choice about what was unknown."""

    changed: int = Field(description="Messages that the choice settled.")


class TestSentItem(BaseModel):
    """What became of the test to one address."""

    to: str
    accepted: bool
    detail: str = Field(description="One sentence, for people.")


class TestedCampaignResponse(BaseModel):
    """What became of a test."""

    id: str
    items: list[TestSentItem]


class CampaignReportResponse(CampaignResponse):
    """What came of a campaign, in numbers that balance."""

    rejected_reasons: dict[str, int]
    balanced: bool = Field(description="Whether counts, rows and attempts say the same.")
    problems: list[str]
    advice: list[str] = Field(description="What an operator may want to know or do next.")


class PreflightResponse(BaseModel):
    """Who would get the campaign if it were frozen now. Quiet hours, windows and caps come on top."""

    id: str
    template: str
    channel: str
    account: str
    account_is_real: bool = Field(description="It reaches people.")
    sender: dict[str, str] = Field(description="Of e-mail: address, name and reply_to.")
    messages: int = Field(description="Who is subscribed: eligible and skipped.")
    eligible: int
    skipped: dict[str, int] = Field(description="Subscribed, but not to be sent to, by reason.")
    excluded: dict[str, int] = Field(description="Other subscriptions of the topic, by state.")

    @staticmethod
    def of(campaign: Campaign, found: Preflight) -> PreflightResponse:
        """Of counts at hand."""
        return PreflightResponse(
            id=campaign.public_id,
            template=campaign.template,
            channel=campaign.channel,
            account=campaign.account,
            account_is_real=campaign.account_is_real,
            sender=campaign.sender,
            messages=found.messages,
            eligible=found.eligible,
            skipped=found.skipped,
            excluded=found.excluded,
        )


def fields_of(campaign: Campaign, counts: dict[str, Any]) -> dict[str, Any]:
    """The fields of an answer: `counts` are those of `starter.reports`."""
    return {
        **counts,
        "test": campaign.is_test,
        "message_class": campaign.message_class,
        "window": str(campaign.window) if campaign.window else None,
        "local_at": campaign.local_at.isoformat() if campaign.local_at else None,
    }
