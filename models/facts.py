"""FACTS: what a driver reads before it claims: what is owed, and all about those people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from domain.local_time import zone_of
from domain.locale_choice import EVERYBODY, choose_locale
from domain.outcome import Outcome, Reason
from domain.send import MessageClass, OnUnknown, OptIn, Priority, SendState
from models.caps import CapMember, over_caps
from models.database import clock
from models.delivery_rows import PART, STEP
from models.eligibility import FACTS_JOINS, RECIPIENTS, VERDICT_SQL, VERDICT_SQL_WITH_TIME
from models.lease import Lease
from models.local_clock import CAP_WINDOWS, CLOCK_JOIN, read_clocks
from models.time_rules import TIME_RULES, TimeRules, time_rules_from

# Below this share of a range, people are looked up one by one instead of by a scan of the range.
_SPARSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFacts:
    """All a driver needs to know of a send; it does not change while the send runs, but for `rate`
    and the state."""

    id: int
    team_id: int
    message_class: MessageClass
    channel: str
    topic_id: int
    template_version_id: int
    account_id: int
    account_key: str
    sender: dict[str, str]
    variables: dict[str, Any]
    on_unknown: OnUnknown
    state: SendState
    is_expired: bool
    expires_at: datetime
    now: datetime
    """The database's clock."""
    opt_in: OptIn
    time_rules: TimeRules
    priority: Priority = Priority.NORMAL


_AS_THEY_ARE = (
    "id",
    "team_id",
    "channel",
    "topic_id",
    "template_version_id",
    "account_id",
    "account_key",
    "sender",
    "variables",
    "is_expired",
    "expires_at",
    "now",
)
_SEND = (
    "SELECT s.id, s.team_id, s.message_class, s.channel, s.topic_id, s.template_version_id,"
    " s.account_id, a.key AS account_key, s.sender, s.variables, s.on_unknown, s.state,"
    " s.expires_at <= clock_timestamp() AS is_expired, s.expires_at, clock_timestamp() AS now,"
    " s.priority"
)


def send_facts(connection: Connection, send_id: int) -> SendFacts:
    """The send, as it stands now."""
    row = (
        connection.execute(
            text(
                f"{_SEND}, t.opt_in, {TIME_RULES} FROM send s JOIN team e ON e.id = s.team_id"
                " JOIN topic t ON t.id = s.topic_id JOIN provider_account a ON a.id = s.account_id"
                " WHERE s.id = :send"
            ),
            {"send": send_id},
        )
        .mappings()
        .one()
    )
    return SendFacts(
        **{name: row[name] for name in _AS_THEY_ARE},
        message_class=MessageClass(row["message_class"]),
        on_unknown=OnUnknown(row["on_unknown"]),
        state=SendState(row["state"]),
        opt_in=OptIn(row["opt_in"]),
        priority=Priority(row["priority"]),
        time_rules=time_rules_from(row),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionContent:
    """What a template version says on one channel in one locale."""

    subject: str
    html: str
    text: str
    variables: dict[str, Any]
    others: Mapping[str, VersionContent] = field(default_factory=dict)
    """Of the content for everybody (locale ""): what it says in other locales."""

    def in_locale(self, wanted: str | None) -> VersionContent:
        """What somebody of this locale is told."""
        return self.others.get(choose_locale(self.others, wanted), self)


def version_content(connection: Connection, version_id: int, channel: str) -> VersionContent:
    """The immutable content of a published version, for everybody and in its other locales."""
    row = connection.execute(
        text("SELECT content, variables FROM template_version WHERE id = :id"), {"id": version_id}
    ).one()
    said = {
        locale: VersionContent(**parts, variables=row.variables)
        for locale, parts in row.content[channel].items()
    }
    return replace(said.pop(EVERYBODY), others=said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Who of a batch is owed a message: `fresh` have no row yet, `again` have one. Ascending."""

    fresh: list[int]
    again: list[int]


def read_owed(connection: Connection, lease: Lease, *, policy: OnUnknown, max_tries: int) -> Owed:
    """The members of the batch that are owed, asked when no attempt of the batch is open.

    The ordinals that have an outcome are read by a query of their own and subtracted: an anti join
    on a send that has just been frozen (unknown to the statistics) took 3.2 s for 5,000.
    """
    rows = connection.execute(
        text(
            "SELECT ordinal, outcome, tries, decide_at <= clock_timestamp() AS is_due FROM delivery"
            " WHERE send_id = :send AND ordinal BETWEEN :lo AND :hi AND step = :step AND part = :part"
        ),
        {"send": lease.send_id, "lo": lease.lo, "hi": lease.hi, "step": STEP, "part": PART},
    ).all()
    resends = policy is OnUnknown.RESEND
    have_row, again = set(), []
    for ordinal, outcome, tries, is_due in rows:
        have_row.add(ordinal)
        is_owed = outcome == Outcome.OWED
        is_repeated = outcome == Outcome.UNKNOWN and is_due and resends and tries < max_tries
        if is_owed or is_repeated:
            again.append(ordinal)
    fresh = [ordinal for ordinal in range(lease.lo, lease.hi + 1) if ordinal not in have_row]
    return Owed(fresh=fresh, again=sorted(again))


class Person(NamedTuple):
    """One message's recipient, with the verdict about it. Built once per recipient on the hot path."""

    ordinal: int
    verdict: int
    """A `Reason` to skip; 0: it may go."""
    contact_point_id: int | None
    address: str
    external_id: str | None
    first_name: str
    last_name: str
    locale: str | None
    time_zone: str | None
    attributes: str
    """JSON."""
    variables: str | None
    """JSON of the message's own variables; null: none."""
    recipient_id: int = 0
    """Read where a rule of time may apply."""
    until: datetime | None = None
    """The verdict is to wait until then; None: its reason is one to skip for, or there is none."""


def read_people(
    connection: Connection, send: SendFacts, ordinals: Sequence[int], *, now: datetime | None = None
) -> list[Person]:
    """Facts and verdicts of these messages (ascending), in one statement. About 5 µs a person.

    Runs in a transaction of its own: it turns nested loops off for a dense range (the planner takes
    a fresh send for one row: 48 → 22 ms for 5,000). Where a rule of time may apply, a statement
    before it reads which clocks there are; `now` is the database's unless it is given.
    """
    lo, hi = ordinals[0], ordinals[-1]
    is_dense = len(ordinals) > (hi - lo + 1) * _SPARSE
    if is_dense:
        connection.execute(text("SET LOCAL enable_nestloop = off"))
    some = "" if len(ordinals) == hi - lo + 1 else " AND m.ordinal = ANY(:ordinals)"
    members = f" WHERE m.send_id = :send AND m.ordinal BETWEEN :lo AND :hi{some}"
    values = {
        **_bounds(connection, send.id, lo, hi),
        "send": send.id,
        "lo": lo,
        "hi": hi,
        "ordinals": list(ordinals) if some else None,
        "team": send.team_id,
        "topic": send.topic_id,
        "channel": send.channel,
        "message_class": send.message_class,
        "opt_in": send.opt_in,
        "priority": int(send.priority),
        "is_expired": send.is_expired,
        "has_local_at": send.time_rules.local_at is not None,
    }
    if send.time_rules.may_apply:
        return _with_time(connection, send, members, values, now or clock(connection))
    found = connection.execute(
        text(
            f"SELECT m.ordinal, {VERDICT_SQL} AS verdict, {_PERSON}"  # noqa: S608  constants
            f" FROM message m {FACTS_JOINS} {members} ORDER BY m.ordinal"
        ),
        values,
    )
    return [Person(*row) for row in found]


_PERSON = (
    "c.id, coalesce(c.address, ''), r.external_id, r.first_name, r.last_name, r.locale, r.time_zone,"
    " CAST(r.attributes AS text), CAST(m.variables AS text)"
)


def _bounds(connection: Connection, send_id: int, lo: int, hi: int) -> dict[str, Any]:
    """The range of recipients that the range of messages is."""
    row = connection.execute(
        text(
            "SELECT min(recipient_id) AS recipient_lo, max(recipient_id) AS recipient_hi FROM"
            " (SELECT recipient_id FROM message WHERE send_id = :send AND ordinal = :lo"
            " UNION ALL SELECT recipient_id FROM message WHERE send_id = :send AND ordinal = :hi) AS ends"
        ),
        {"send": send_id, "lo": lo, "hi": hi},
    ).mappings()
    return dict(row.one())


def _with_time(
    connection: Connection, send: SendFacts, members: str, values: dict[str, Any], now: datetime
) -> list[Person]:
    """The same with all rules; SQL says which applies, the clocks and caps until when."""
    clocks = read_clocks(connection, send.time_rules, f"{RECIPIENTS} {members}", values, now)
    found = connection.execute(
        text(
            f"{CAP_WINDOWS} SELECT k.quiet_ends, k.opens_at, k.local_moment,"  # noqa: S608  constants
            f" m.ordinal, {VERDICT_SQL_WITH_TIME} AS verdict, {_PERSON}, m.recipient_id"
            f" FROM message m {FACTS_JOINS} {CLOCK_JOIN} {members} ORDER BY m.ordinal"
        ),
        {**values, **clocks},
    )
    people = []
    for quiet_ends, opens_at, local_moment, *row in found:
        person = Person(*row)
        if person.verdict == Reason.QUIET_HOURS:
            person = person._replace(until=quiet_ends)
        elif person.verdict == Reason.OUTSIDE_WINDOW:
            person = person._replace(until=opens_at)
        elif person.verdict == Reason.LOCAL_TIME:
            person = person._replace(until=local_moment or now)
        people.append(person)
    return _with_ends_of_caps(connection, send, people, now)


def _with_ends_of_caps(
    connection: Connection, send: SendFacts, people: list[Person], now: datetime
) -> list[Person]:
    capped = [
        cap_member(person, send.time_rules) for person in people if person.verdict == Reason.CAPPED
    ]
    over = over_caps(connection, send.id, capped, send.time_rules.caps, now)
    if not over:
        return people
    return [
        person._replace(until=over[person.ordinal].until) if person.ordinal in over else person
        for person in people
    ]


def cap_member(person: Person, rules: TimeRules) -> CapMember:
    """The person as caps count people."""
    return CapMember(
        person.ordinal, person.recipient_id, zone_of(person.time_zone, rules.time_zone)
    )


def person_with(connection: Connection, team_id: int, channel: str, address: str) -> Person:
    """The recipient who has this address, else somebody of whom nothing is known; verdict 0."""
    row = connection.execute(
        text(
            "SELECT 0, 0, c.id, c.address, r.external_id, r.first_name, r.last_name, r.locale,"
            " r.time_zone, CAST(r.attributes AS text), CAST(NULL AS text)"
            " FROM contact_point c JOIN recipient r ON r.id = c.recipient_id"
            " WHERE c.team_id = :team AND c.channel = :channel AND c.address = :address"
            " ORDER BY r.id LIMIT 1"
        ),
        {"team": team_id, "channel": channel, "address": address},
    ).one_or_none()
    return (
        Person(*row) if row else Person(0, 0, None, address, None, "", "", None, None, "{}", None)
    )
