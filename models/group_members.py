"""The members of a group with all that is known of them: what a driver decides and renders by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.cap import Cap
from domain.eligibility import Facts, OverCap, quiet_window
from domain.local_time import Window, zone_of
from domain.outcome import Outcome, Progress, Reason
from domain.plan import Step, plan_from_json
from domain.send import (
    Channel,
    MessageClass,
    OnUnknown,
    OptIn,
    Priority,
    SendState,
    SubscriptionState,
)
from domain.standing import LastRow
from models.cap import caps_from, caps_sql
from models.caps import CapMember, over_caps
from models.facts import Person
from models.prepared import Prepared, one
from models.suppression import is_suppressed
from models.time_rules import grace_of

# Channels on which everybody can be reached: there is no address to have.
ADDRESSLESS = (Channel.IN_APP,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One single message: its send, its recipient's facts on the channel of its step, its last row."""

    send_id: int
    ordinal: int
    team_id: int
    recipient_id: int
    message_class: MessageClass
    channel: Channel
    plan: tuple[Step, ...]
    template_version_id: int
    template_key: str
    sender: Mapping[str, str]
    variables: Mapping[str, Any]
    on_unknown: OnUnknown
    state: SendState
    priority: Priority
    wanted_at: datetime
    """When it was asked for, or the time it was asked for at."""
    trace_parent: str | None
    """The traceparent (W3C) of what asked for it."""
    expires_at: datetime
    is_expired: bool
    is_test: bool
    """A test key asked for it: it goes to an account that only logs."""
    last: LastRow | None
    caps: tuple[Cap, ...]
    """Frequency caps that hold for it."""
    facts: Facts
    person: Person
    now: datetime
    """The database's clock when it was read."""

    @property
    def step(self) -> int:
        """The step where it stands."""
        return self.last.step if self.last else 1

    @property
    def cap_member(self) -> CapMember:
        """As frequency caps count it."""
        return CapMember(self.ordinal, self.recipient_id, self.facts.zone)

    @property
    def ended_as(self) -> Outcome | None:
        """What a send that has ended makes of members never tried."""
        if self.state is SendState.CANCELLED:
            return Outcome.CANCELLED
        return Outcome.EXPIRED if self.is_expired else None


# What an event says is kept once, with its send; a campaign's variables give way to attributes.
_OWN_VARIABLES = (
    "CASE WHEN s.kind = 'campaign' OR s.variables = '{{}}' THEN m.variables"
    " ELSE s.variables || coalesce(m.variables, '{{}}') END"
)
# Equality would fit the index of recipients as well, by its second column; the order is the key's alone.
_KEY_OF_MESSAGE = "send_id = o.send_id AND ordinal BETWEEN o.ordinal AND o.ordinal ORDER BY ordinal"
_SELECT = f"""
    SELECT {{id}} o.send_id, o.ordinal, s.team_id, s.message_class, s.plan, s.template_version_id,
           tp.key AS template_key, s.sender, s.variables, s.on_unknown, s.state, s.is_test,
           s.created_at, s.trace_parent,
           s.expires_at, s.expires_at <= clock_timestamp() AS is_expired, clock_timestamp() AS now,
           m.recipient_id, CAST({_OWN_VARIABLES} AS text) AS own_variables,
           d.step, d.outcome, d.reason, d.tries, d.progress, d.decide_at, p.channel,
           r.erased_at IS NOT NULL AS is_erased, r.external_id, r.first_name, r.last_name, r.locale,
           r.time_zone, CAST(r.attributes AS text) AS attributes, c.id AS contact_id, c.address,
           {is_suppressed("s.team_id", "p.channel", "c.address", "s.message_class")} AS is_suppressed,
           sub.state AS subscription, s.priority, t.opt_in, te.time_zone AS team_zone,
           te.quiet_from AS team_quiet_from, te.quiet_until AS team_quiet_until, r.quiet_from,
           r.quiet_until, s.window_from, s.window_until, s.due_at, s.local_at, s.local_grace,
           {caps_sql("s.team_id", "s.topic_id", "s.message_class", "p.channel")} AS caps
    FROM {{source}}
    {one("send", "id = o.send_id", "s")}
    {one("team", "id = s.team_id", "te")}
    LEFT {one("topic", "id = s.topic_id", "t")}
    {one("template_version", "id = s.template_version_id", "v")}
    {one("template", "id = v.template_id", "tp")}
    {one("message", _KEY_OF_MESSAGE, "m")}
    {one("recipient", "id = m.recipient_id", "own")}
    {one("recipient", "id = coalesce(own.merged_into, own.id)", "r")}
    LEFT JOIN LATERAL (
        SELECT * FROM delivery x WHERE x.send_id = o.send_id AND x.ordinal = o.ordinal
        ORDER BY x.step DESC LIMIT 1) d ON true
    CROSS JOIN LATERAL (SELECT coalesce(
        s.plan -> (coalesce(d.step, 1) - 1) ->> 'channel', s.channel) AS channel) p
    LEFT {one("contact_point", "recipient_id = r.id AND channel = p.channel AND rank = 0", "c")}
    LEFT {one("subscription", "topic_id = s.topic_id AND channel = p.channel AND recipient_id = r.id", "sub")}
"""  # noqa: S608  expressions of ours


_READ_MEMBERS = Prepared(
    "group_members_read_members",
    _SELECT.format(id="", source="(SELECT * FROM outbox WHERE group_id = :group OFFSET 0) o")  # noqa: S608
    + " ORDER BY o.id",
)
_READ_SOME = Prepared(
    "group_members_read_some",
    _SELECT.format(
        id="",
        source="unnest(CAST(:sends AS bigint[]), CAST(:ordinals AS integer[])) AS o(send_id, ordinal)",
    )
    + " ORDER BY o.send_id, o.ordinal",
)


def read_members(connection: Connection, group_id: int) -> list[Member]:
    """The group's messages in the order of the outbox, as they stand now."""
    rows = _READ_MEMBERS.run(connection, {"group": group_id}).mappings()
    return [_member(row) for row in rows]


def read_some(connection: Connection, keys: Sequence[tuple[int, int]]) -> list[Member]:
    """These messages by (send, ordinal), of campaigns, too, wherever they stand; in key order."""
    if not keys:
        return []
    sends, ordinals = zip(*keys, strict=True)
    rows = _READ_SOME.run(connection, {"sends": list(sends), "ordinals": list(ordinals)})
    return [_member(row) for row in rows.mappings()]


def members_by_id(connection: Connection, outbox_ids: Sequence[int]) -> dict[int, Member]:
    """The messages of these outbox rows by the row's id, whatever group they are in."""
    rows = connection.execute(
        text(_SELECT.format(id="o.id,", source="outbox o") + " WHERE o.id = ANY(:ids)"),
        {"ids": list(outbox_ids)},
    ).mappings()
    return {row["id"]: _member(row) for row in rows}


def over_caps_of(
    connection: Connection, members: Sequence[Member]
) -> dict[tuple[int, int], OverCap]:
    """By (send, ordinal), of whom one message more would be more than a frequency cap allows now."""
    capped: dict[int, list[Member]] = {}
    for member in members:
        if member.caps:
            capped.setdefault(member.send_id, []).append(member)
    return {
        (send_id, ordinal): over
        for send_id, mine in capped.items()
        for ordinal, over in over_caps(
            connection,
            send_id,
            [member.cap_member for member in mine],
            mine[0].caps,
            mine[0].now,
        ).items()
    }


def _member(row: Mapping[Any, Any]) -> Member:
    channel = Channel(row["channel"])
    return Member(
        send_id=row["send_id"],
        ordinal=row["ordinal"],
        team_id=row["team_id"],
        recipient_id=row["recipient_id"],
        message_class=MessageClass(row["message_class"]),
        channel=channel,
        plan=plan_from_json(row["plan"]),
        template_version_id=row["template_version_id"],
        template_key=row["template_key"],
        sender=row["sender"],
        variables=row["variables"],
        on_unknown=OnUnknown(row["on_unknown"]),
        state=SendState(row["state"]),
        priority=Priority(row["priority"]),
        wanted_at=max(row["created_at"], row["due_at"] or row["created_at"]),
        trace_parent=row["trace_parent"],
        expires_at=row["expires_at"],
        is_expired=row["is_expired"],
        is_test=row["is_test"],
        last=_last(row),
        caps=() if row["priority"] == Priority.CRITICAL else caps_from(row["caps"]),
        facts=_facts(row, channel),
        person=Person(
            row["ordinal"],
            0,
            row["contact_id"],
            row["address"] or "",
            row["external_id"],
            row["first_name"],
            row["last_name"],
            row["locale"],
            row["time_zone"],
            row["attributes"],
            row["own_variables"],
        ),
        now=row["now"],
    )


def _last(row: Mapping[Any, Any]) -> LastRow | None:
    if row["step"] is None:
        return None
    return LastRow(
        step=row["step"],
        outcome=Outcome(row["outcome"]),
        reason=Reason(row["reason"]),
        tries=row["tries"],
        progress=Progress(row["progress"]),
        decide_at=row["decide_at"],
    )


def _facts(row: Mapping[Any, Any], channel: Channel) -> Facts:
    message_class = MessageClass(row["message_class"])
    own = Window.of(row["quiet_from"], row["quiet_until"])
    team = Window.of(row["team_quiet_from"], row["team_quiet_until"])
    return Facts(
        message_class=message_class,
        is_erased=row["is_erased"],
        has_contact_point=row["contact_id"] is not None or channel in ADDRESSLESS,
        is_suppressed=row["is_suppressed"],
        subscription=SubscriptionState(row["subscription"]) if row["subscription"] else None,
        priority=Priority(row["priority"]),
        opt_in=OptIn(row["opt_in"]) if row["opt_in"] else OptIn.EXPLICIT,
        now=row["now"],
        zone=zone_of(row["time_zone"], row["team_zone"]),
        quiet=quiet_window(own, team, message_class),
        window=Window.of(row["window_from"], row["window_until"]),
        # By local time the send's due time is only when the first recipients may be looked at.
        not_before=None if row["local_at"] else row["due_at"],
        not_before_local=row["local_at"],
        local_grace=grace_of(row["local_grace"]),
        has_begun=row["step"] is not None,
    )
