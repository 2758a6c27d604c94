"""Cancelling requests of a team's single messages."""

from __future__ import annotations

from sqlalchemy import Connection

from models.request import TooLate, UnknownSend, cancel_request
from models.request_progress import request_status


def cancel_of_team(connection: Connection, team_id: int, send_id: int) -> None:
    """Cancel the team's send; one that is cancelled stays so. Raises UnknownSend, TooLate."""
    request_status(connection, team_id, send_id)
    cancel_request(connection, send_id)


def cancel_single(connection: Connection, team_id: int, send_id: int, ordinal: int) -> None:
    """Cancel a message that is all of its send. Raises UnknownSend, TooLate."""
    found = request_status(connection, team_id, send_id)
    if ordinal > found.messages:
        raise UnknownSend("There is no message with this id.")
    if found.messages > 1:
        raise TooLate(
            f"The message belongs to the send {found.id} of {found.messages} messages,"
            " which can be cancelled as a whole only."
        )
    cancel_of_team(connection, team_id, send_id)
