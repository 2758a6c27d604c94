"""Single messages that wait: a page of the outbox, with all that their verdict asks about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from domain.routing import fitting
from models.account import RoutableAccount, routable_accounts
from models.group_members import Member, members_by_id
from models.hold import HOLD_ON_SEND

PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMessage:
    """A message that is not final, as it stands now."""

    member: Member
    again_at: datetime | None
    """When it is due, parked or in its group."""
    holds: Sequence[str]
    """What holds its send: "scope: reason (author)"."""
    accounts: Sequence[RoutableAccount]

    @property
    def has_account(self) -> bool:
        """Whether an account that can take it is up."""
        wanted = self.member.plan[self.member.step - 1].accounts
        fit = fitting(self.accounts, self.member.channel, wanted, is_test=self.member.is_test)
        return any(not account.is_stopped and account.opens_in is None for account in fit)


_PAGE = f"""
    SELECT o.id, coalesce(g.resume_at, o.due_at) AS again_at,
           ARRAY(SELECT h.scope || ': ' || h.reason || ' (' || h.author || ')' FROM hold h
                 WHERE h.released_at IS NULL AND {HOLD_ON_SEND} ORDER BY h.id) AS holds
    FROM outbox o JOIN send s ON s.id = o.send_id LEFT JOIN message_group g ON g.id = o.group_id
    WHERE s.team_id = :team AND o.id > :after
"""  # noqa: S608  constants
_OF_SEND = " AND o.send_id = :send"
_OF_RECIPIENT = """
     AND EXISTS (SELECT 1 FROM message m JOIN recipient r ON r.id = m.recipient_id
         WHERE m.send_id = o.send_id AND m.ordinal = o.ordinal
           AND (r.id = :recipient OR r.merged_into = :recipient))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPage:
    """Up to 200 open messages in the order of the outbox, and where the next page begins."""

    messages: Sequence[OpenMessage]
    next_after: int | None


def open_messages(
    connection: Connection,
    team_id: int,
    *,
    send_id: int | None = None,
    recipient_id: int | None = None,
    after: int = 0,
) -> OpenPage:
    """The team's single messages that are not final, of one send or person where they are given."""
    some = (_OF_SEND if send_id is not None else "") + (
        _OF_RECIPIENT if recipient_id is not None else ""
    )
    rows = connection.execute(
        text(f"{_PAGE}{some} ORDER BY o.id LIMIT {PAGE}"),
        {"team": team_id, "after": after, "send": send_id, "recipient": recipient_id},
    ).all()
    members = members_by_id(connection, [row.id for row in rows])
    accounts = routable_accounts(connection, team_id)
    found = [
        OpenMessage(
            member=members[row.id], again_at=row.again_at, holds=row.holds, accounts=accounts
        )
        for row in rows
        if row.id in members  # else it has just become final
    ]
    return OpenPage(messages=found, next_after=rows[-1].id if len(rows) == PAGE else None)
