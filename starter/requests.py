"""Cancelling requests of a team's single messages."""

from __future__ import annotations

from sqlalchemy import Connection

from models.request import TooLate, UnknownSend, cancel_request
from models.request_progress import request_status


class OfLiveKey(Exception):
    """A test key may not cancel it; the message is one sentence."""


def cancel_of_team(
    connection: Connection, team_id: int, send_id: int, *, by_test_key: bool = False
) -> None:
    """Cancel the team's send; one that is cancelled stays so.

    Raises UnknownSend, TooLate, and OfLiveKey where a test key would cancel what is real.
    """
    found = request_status(connection, team_id, send_id)
    if by_test_key and not found.is_test:
        raise OfLiveKey("A test key cancels what test keys sent only. Use a live key.")
    cancel_request(connection, send_id)


def cancel_single(
    connection: Connection, team_id: int, send_id: int, ordinal: int, *, by_test_key: bool = False
) -> None:
    """Cancel a message that is all of its send. Raises as `cancel_of_team`."""
    found = request_status(connection, team_id, send_id)
    if ordinal > found.messages:
        raise UnknownSend("There is no message with this id.")
    if found.messages > 1:
        raise TooLate(
            f"The message belongs to the send {found.id} of {found.messages} messages,"
            " which can be cancelled as a whole only."
        )
    cancel_of_team(connection, team_id, send_id, by_test_key=by_test_key)
