"""/v1/templates: versions are published, listed, rendered; nobody overwrites what they have not seen."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.api_key import Scope
from domain.locale_choice import EVERYBODY
from domain.send import Channel, MessageClass
from domain.template_render import TemplateSource
from models.template import Version, page_of_templates
from starter.template_publishing import (
    TemplateGiven,
    checked,
    etag_of,
    publish_if,
    render_version,
    version_named,
    versions_of,
)
from starter.templates import MAX_FILE_BYTES
from web.api.access import Caller, needs
from web.api.desk import AtDesk
from web.api.idempotency import IdempotencyKey, once
from web.api.paging import Page, Paged
from web.api.route import ApiRoute

router = APIRouter(prefix="/v1/templates", tags=["templates"], route_class=ApiRoute)

Reader = Annotated[Caller, needs(Scope.TEMPLATES_READ)]
Writer = Annotated[Caller, needs(Scope.TEMPLATES_WRITE)]
Source = Annotated[str, StringConstraints(max_length=MAX_FILE_BYTES)]
Line = Annotated[str, StringConstraints(max_length=1_000)]
Locale = Annotated[str, StringConstraints(min_length=1, max_length=50)]

_EXAMPLE: Any = {
    "key": "order-shipped",
    "message_class": "transactional",
    "from": "Shop <shop@example.com>",
    "content": {
        "email": {
            "subject": "Order {{ order }}",
            "text": "Hello {{ first_name }}, it is on its way.",
        }
    },
}


class Parts(BaseModel):
    """What is told on a channel, in the template language."""

    model_config = ConfigDict(extra="forbid")

    subject: Source = Field("", description="Of an e-mail; the title of an in-app item.")
    html: Source = Field("", description="Of an e-mail.")
    text: Source = ""

    def source(self) -> TemplateSource:
        """What the layers below call it."""
        return TemplateSource(subject=self.subject, html=self.html, text=self.text)


class ChannelContent(Parts):
    """What everybody is told on a channel, and what those of a locale are told instead."""

    locales: Annotated[dict[Locale, Parts], Field(max_length=50)] = Field(
        {}, description="By locale, as de or de_AT; with the same parts."
    )

    def by_locale(self) -> dict[str, TemplateSource]:
        """By locale; EVERYBODY's first."""
        others = {locale: parts.source() for locale, parts in self.locales.items()}
        return {EVERYBODY: self.source(), **others}


class Content(BaseModel):
    """By channel; at least one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    email: ChannelContent | None = None
    sms: ChannelContent | None = None
    in_app: ChannelContent | None = None


class PublishTemplateRequest(BaseModel):
    """The whole of a version: what is not named is not in it."""

    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, json_schema_extra={"examples": [_EXAMPLE]}
    )

    key: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$", max_length=100)]
    name: Line = Field("", description="For people; empty: the key.")
    message_class: MessageClass = MessageClass.MARKETING
    from_: Line = Field("", alias="from", description="Name <a@b.org>; empty: the setting's.")
    reply_to: Line = ""
    variables: dict[str, Any] = Field(
        {}, description="Values for names that neither send nor recipient has."
    )
    content: Content

    def given(self) -> TemplateGiven:
        """What the layers below call it."""
        channels = {
            Channel.EMAIL: self.content.email,
            Channel.SMS: self.content.sms,
            Channel.IN_APP: self.content.in_app,
        }
        return TemplateGiven(
            manifest={
                "key": self.key,
                "name": self.name,
                "message_class": self.message_class.value,
                "from": self.from_,
                "reply_to": self.reply_to,
                "variables": self.variables,
            },
            content={
                channel: content.by_locale()
                for channel, content in channels.items()
                if content is not None
            },
        )


class RenderRequest(BaseModel):
    """For whom to render, and with what."""

    model_config = ConfigDict(extra="forbid")

    number: int | None = Field(None, ge=1, lt=1 << 31, description="Null: the newest version.")
    channel: Channel | None = Field(None, description="Null: e-mail, or the one there is.")
    locale: Locale | None = None
    data: dict[str, Any] = Field({}, description="Over the values of a sample recipient.")


class TemplateResponse(BaseModel):
    """A version, without what it says."""

    key: str
    number: int
    name: str
    message_class: MessageClass
    channels: list[str]
    published_at: datetime
    etag: str = Field(description="For If-Match, where this version is to be replaced.")


class TemplateDetailResponse(TemplateResponse):
    """A version, with all that it says."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: str = Field(serialization_alias="from", validation_alias="from")
    reply_to: str
    variables: dict[str, Any]
    content: dict[str, Any] = Field(description="By channel, as it is published.")


class RenderedResponse(BaseModel):
    """What the sample recipient would get; a part that the template lacks is empty."""

    key: str
    number: int
    channel: Channel
    locale: str
    subject: str
    html: str
    text: str


@router.post("", status_code=201, response_model=TemplateDetailResponse)
def publish(
    body: PublishTemplateRequest,
    caller: Writer,
    desk: AtDesk,
    key: IdempotencyKey,
    request: Request,
    if_match: Annotated[
        str | None,
        Header(max_length=100, description="`etag` of the version to be replaced, or *."),
    ] = None,
) -> Response:
    """Publish the next version of a template, or a new template. Equal content is the version there is.

    Where the template is there, If-Match must say which version you have seen: 412 if it is not the
    newest any more.
    """
    new = checked(body.given())
    answer = once(
        desk,
        caller,
        key,
        request,
        body,
        201,
        lambda c: _detail(publish_if(c, caller.team_id, new, if_match)),
    )
    return _tagged(answer)


@router.get("")
def list_(caller: Reader, desk: AtDesk, paging: Paged) -> Page[TemplateResponse]:
    """The newest version of each template, the youngest template first."""
    before = paging.after[0] if paging.after else None
    rows = desk.read(
        lambda c: page_of_templates(c, caller.team_id, before=before, limit=paging.fetch)
    )
    return paging.page(rows, _line, lambda row: [row.template_id])


@router.get("/{template}", response_model=TemplateDetailResponse)
def get(template: str, caller: Reader, desk: AtDesk, response: Response) -> TemplateDetailResponse:
    """The newest version of a template, by its key. Its ETag goes into If-Match."""
    found = desk.read(lambda c: version_named(c, caller.team_id, template))
    response.headers["ETag"] = etag_of(found)
    return _detail(found)


@router.get("/{template}/versions")
def list_versions(
    template: str, caller: Reader, desk: AtDesk, paging: Paged
) -> Page[TemplateResponse]:
    """The versions of a template, newest first."""
    before = paging.after[0] if paging.after else None
    rows = desk.read(
        lambda c: versions_of(c, caller.team_id, template, before=before, limit=paging.fetch)
    )
    return paging.page(rows, _line, lambda row: [row.number])


@router.get("/{template}/versions/{number}", response_model=TemplateDetailResponse)
def get_version(
    template: str, number: str, caller: Reader, desk: AtDesk, response: Response
) -> TemplateDetailResponse:
    """One version. It never changes."""
    found = desk.read(lambda c: version_named(c, caller.team_id, template, number))
    response.headers["ETag"] = etag_of(found)
    return _detail(found)


@router.post("/{template}/render")
def render(template: str, body: RenderRequest, caller: Reader, desk: AtDesk) -> RenderedResponse:
    """Render a version with data for a sample recipient. Nothing is stored or sent, so it takes no key."""
    number = None if body.number is None else str(body.number)
    found = desk.read(lambda c: version_named(c, caller.team_id, template, number))
    made = render_version(found, body.channel, body.locale, body.data)
    return RenderedResponse(
        key=found.key,
        number=found.number,
        channel=made.channel,
        locale=made.locale,
        subject=made.rendered.subject,
        html=made.rendered.html,
        text=made.rendered.text,
    )


def _line(version: Version) -> TemplateResponse:
    return TemplateResponse(
        key=version.key,
        number=version.number,
        name=version.name,
        message_class=version.message_class,
        channels=sorted(version.content),
        published_at=version.published_at,
        etag=etag_of(version),
    )


def _detail(version: Version) -> TemplateDetailResponse:
    content = {
        channel: {
            **by_locale.get(EVERYBODY, {}),
            "locales": {name: parts for name, parts in by_locale.items() if name != EVERYBODY},
        }
        for channel, by_locale in version.content.items()
    }
    return TemplateDetailResponse.model_validate(
        {
            **_line(version).model_dump(),
            "from": version.sender.get("from", ""),
            "reply_to": version.sender.get("reply_to", ""),
            "variables": version.variables,
            "content": content,
        }
    )


def _tagged(answer: Response) -> Response:
    """The answer with its ETag, also where it is given again."""
    answer.headers["ETag"] = orjson.loads(answer.body)["etag"]
    return answer
