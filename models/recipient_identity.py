"""Whom somebody means: by id, by external id, by address; who was merged is found as who they are."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from domain.identifier import RECIPIENT_PREFIX, BadIdentifier, key_of, public_id
from domain.person import InvalidAddress, normalise_email, normalise_phone

_MOST_NAMED = 5


class UnknownRecipient(Exception):
    """Nobody is meant by this, or several people are; the message is one sentence."""


class SharedAddress(UnknownRecipient):
    """Several people have the address: somebody has to say who is meant."""


# UNION, not UNION ALL: a circle of merges, which nothing of ours makes, ends and finds nobody.
_ROOT = """
    WITH RECURSIVE walk AS (
        SELECT id, merged_into FROM recipient WHERE {start}
        UNION SELECT r.id, r.merged_into FROM recipient r JOIN walk w ON r.id = w.merged_into
    ) SELECT DISTINCT id FROM walk WHERE merged_into IS NULL ORDER BY id
"""


def resolve_recipient(connection: Connection, team_id: int, external_id: str) -> int | None:
    """Id of the recipient who has this external id, or of whom they were merged into; None: nobody."""
    found: int | None = connection.execute(
        text(_ROOT.format(start="team_id = :team AND external_id = :external")),
        {"team": team_id, "external": external_id},
    ).scalar()
    return found


def identities(connection: Connection, recipient_id: int) -> Sequence[int]:
    """The recipient's id and those of all who were merged into them, ascending."""
    return (
        connection.execute(
            text(
                "WITH RECURSIVE walk AS (SELECT id FROM recipient WHERE id = :id"
                " UNION SELECT r.id FROM recipient r JOIN walk w ON r.merged_into = w.id)"
                " SELECT id FROM walk ORDER BY id"
            ),
            {"id": recipient_id},
        )
        .scalars()
        .all()
    )


def find_recipient(connection: Connection, team_id: int, given: str) -> int:
    """Id of the recipient meant by `given`: rcp_…, an external id, or an address.

    Raises UnknownRecipient; also where an address is that of several people.
    """
    given = given.strip()
    by_id = _by_public_id(connection, team_id, given)
    if by_id is not None:
        return by_id
    by_external_id = resolve_recipient(connection, team_id, given)
    if by_external_id is not None:
        return by_external_id
    found = _by_address(connection, team_id, given)
    if not found:
        raise UnknownRecipient(f"There is no recipient '{given}'.")
    if len(found) > 1:
        some = ", ".join(public_id(RECIPIENT_PREFIX, one) for one in found[:_MOST_NAMED])
        raise SharedAddress(f"{len(found)} recipients have the address {given}; say which: {some}.")
    return found[0]


def _by_public_id(connection: Connection, team_id: int, given: str) -> int | None:
    try:
        key = key_of(RECIPIENT_PREFIX, given)
    except BadIdentifier:  # an external id may begin like one of ours
        return None
    found: int | None = connection.execute(
        text(_ROOT.format(start="team_id = :team AND id = :id")), {"team": team_id, "id": key}
    ).scalar()
    return found


def _by_address(connection: Connection, team_id: int, given: str) -> Sequence[int]:
    return (
        connection.execute(
            text(
                _ROOT.format(
                    start="id IN (SELECT recipient_id FROM contact_point"
                    " WHERE team_id = :team AND (channel, address) IN"
                    " (('email', :email), ('sms', :phone), ('push', :given), ('webhook', :given)))"
                )
            ),
            {
                "team": team_id,
                "email": _normalised_email(given),
                "phone": _normalised_phone(given),
                "given": given,
            },
        )
        .scalars()
        .all()
    )


def _normalised_email(given: str) -> str | None:
    try:
        return normalise_email(given)
    except InvalidAddress:
        return None


def _normalised_phone(given: str) -> str | None:
    try:
        return normalise_phone(given)
    except InvalidAddress:
        return None
