"""The bodies of recipients: what is asked for, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.contact import MAX_ADDRESS_CHARACTERS, ContactState
from domain.identifier import CONTACT_PREFIX, RECIPIENT_PREFIX, public_id
from domain.send import Channel, SubscriptionState
from models.recipient_list import RecipientLine, SubscriptionLine
from starter.person_upsert import MAX_TEXT, PersonGiven
from web.api.problem import ProblemAnswer

MAX_BULK = 1000

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Address = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ADDRESS_CHARACTERS + 100)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Scalar = str | bool | int | float

_ADA: Any = {
    "external_id": "customer-42",
    "email": "ada@example.org",
    "first_name": "Ada",
    "time_zone": "Europe/Vienna",
    "attributes": {"plan": "gold"},
}


class UpsertRecipientRequest(BaseModel):
    """A person: found by `external_id`, else by `email`, or made. What is not named stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_ADA]})

    external_id: Text | None = Field(None, description="Your own id of the person.")
    email: Address | None = Field(None, description="Replaces the address in use.")
    phone: Address | None = Field(None, description="+43 660 …; replaces the one in use.")
    webhook: Address | None = Field(None, description="https://…; replaces the one in use.")
    first_name: Text | None = None
    last_name: Text | None = None
    locale: Text | None = Field(None, description='Such as de_AT; "" forgets it.')
    time_zone: Text | None = Field(None, description='Such as Europe/Vienna; "" forgets it.')
    preferred_channels: Annotated[list[Channel], Field(max_length=10)] | None = None
    attributes: Annotated[dict[str, Scalar | None], Field(max_length=200)] | None = Field(
        None, description="Added to those that are there; null removes one."
    )

    def given(self) -> PersonGiven:
        """What the layers below call it."""
        addresses = {
            Channel.EMAIL: self.email,
            Channel.SMS: self.phone,
            Channel.WEBHOOK: self.webhook,
        }
        texts = {
            name: getattr(self, name) for name in ("first_name", "last_name", "locale", "time_zone")
        }
        return PersonGiven(
            external_id=self.external_id,
            addresses={channel: one for channel, one in addresses.items() if one is not None},
            texts={name: one for name, one in texts.items() if one is not None},
            preferred=self.preferred_channels,
            attributes=self.attributes,
        )


class BulkRecipientsRequest(BaseModel):
    """Up to 1,000 people, each taken or refused for itself."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"recipients": [_ADA]}]}
    )

    recipients: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=MAX_BULK,
        description="Each as the body of POST /v1/recipients; one that is not is answered as refused.",
    )


class AddContactPointRequest(BaseModel):
    """A further address."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel
    address: Address
    first: bool = Field(False, description="It is the one in use from now on.")


class ReplaceContactPointRequest(BaseModel):
    """The address to use on a channel."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel
    address: Address


class ChangeContactPointRequest(BaseModel):
    """What is known of an address, and whether it is the one in use."""

    model_config = ConfigDict(extra="forbid")

    state: ContactState | None = None
    first: bool = False


class TokenChannel(BaseModel):
    """Of which kind a token is."""

    model_config = ConfigDict(extra="forbid")

    channel: Annotated[str, StringConstraints(pattern="^(push|web_push)$")] = "push"


class RegisterTokenRequest(TokenChannel):
    """The token of an app on a device; who registers it last has it."""

    token: Address


class RenewTokenRequest(TokenChannel):
    """The token that the vendor gave in the place of another."""

    old: Address
    new: Address


class SubscriptionRequest(BaseModel):
    """A topic, by its key, on a channel."""

    model_config = ConfigDict(extra="forbid")

    topic: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    channel: Channel = Channel.EMAIL


class MergeRequest(BaseModel):
    """Who is left."""

    model_config = ConfigDict(extra="forbid")

    into: Name = Field(description="rcp_…, an external id, or an address that one person has.")


class ContactPointResponse(BaseModel):
    """An address of a recipient."""

    id: str
    channel: str
    address: str
    rank: int = Field(description="0 is the one in use.")
    state: ContactState
    verified_at: datetime | None
    registered_at: datetime
    is_suppressed: bool

    @staticmethod
    def of(point: dict[str, Any]) -> ContactPointResponse:
        """From its row."""
        return ContactPointResponse(**{**point, "id": public_id(CONTACT_PREFIX, point["id"])})


class RecipientResponse(BaseModel):
    """A recipient, with their contact points."""

    id: str
    external_id: str | None
    first_name: str
    last_name: str
    locale: str | None
    time_zone: str | None
    preferred_channels: list[str]
    attributes: dict[str, Any]
    contact_points: list[ContactPointResponse]
    merged: list[str] = Field(description="Ids of those who were merged into this one.")
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None

    @staticmethod
    def of(line: RecipientLine) -> RecipientResponse:
        """From its row."""
        return RecipientResponse(
            id=public_id(RECIPIENT_PREFIX, line.id),
            external_id=line.external_id,
            first_name=line.first_name,
            last_name=line.last_name,
            locale=line.locale,
            time_zone=line.time_zone,
            preferred_channels=list(line.preferred_channels),
            attributes=line.attributes,
            contact_points=points(line),
            merged=[public_id(RECIPIENT_PREFIX, one) for one in line.merged],
            created_at=line.created_at,
            updated_at=line.updated_at,
            erased_at=line.erased_at,
        )


def points(line: RecipientLine) -> list[ContactPointResponse]:
    """The recipient's contact points, by channel and rank."""
    return [ContactPointResponse.of(point) for point in line.contact_points]


class UpsertedResponse(BaseModel):
    """Who was meant."""

    created: bool
    recipient: RecipientResponse


class BulkRecipientItem(BaseModel):
    """What became of one item: an id, or a problem."""

    index: int
    status: int
    id: str | None = None
    external_id: str | None = None
    created: bool | None = None
    problem: ProblemAnswer | None = None


class BulkRecipientsResponse(BaseModel):
    """What became of each, in their order."""

    created: int
    updated: int = Field(description="Found; whether or not something was new about them.")
    refused: int
    items: list[BulkRecipientItem]


class SubscriptionResponse(BaseModel):
    """How the recipient stands to a topic on a channel."""

    topic: str
    topic_name: str
    channel: str
    state: SubscriptionState
    source: str
    changed_at: datetime
    cadence: str

    @staticmethod
    def of(line: SubscriptionLine) -> SubscriptionResponse:
        """From its row."""
        return SubscriptionResponse(
            topic=line.topic,
            topic_name=line.topic_name,
            channel=line.channel,
            state=SubscriptionState(line.state),
            source=line.source,
            changed_at=line.changed_at,
            cadence=line.cadence,
        )


class JoinedResponse(BaseModel):
    """How they stand now: pending where the topic asks for double opt-in."""

    recipient: str
    topic: str
    channel: Channel
    state: SubscriptionState


class LeftResponse(BaseModel):
    """Whether a subscription was ended by this."""

    recipient: str
    topic: str
    channel: Channel
    ended: bool


class MergedResponse(BaseModel):
    """Who is left, and what came over."""

    contact_points: int
    subscriptions: int
    recipient: RecipientResponse


class ErasedResponse(BaseModel):
    """What was taken away; all 0 where the person had been erased before."""

    id: str
    recipients: int
    contact_points: int
    suppressions: int = Field(description="Kept as hashes.")
    subscriptions: int
    messages: int = Field(description="Whose variables were emptied.")
