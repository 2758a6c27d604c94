"""Many requests for single messages in one transaction: each is written or refused for itself."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from models.request import Request
from starter.messages import REFUSALS, Carillon
from starter.request_recipients import address_of
from starter.wish import Wish

Answer = Request | Exception


def request_many(
    carillon: Carillon, connection: Connection, wishes: Sequence[Wish | Exception]
) -> list[Answer]:
    """What became of each wish, in their order: a request, or why it is refused.

    A wish that could not be read is handed through. The caller's transaction commits all of it.
    """
    return [_one(carillon, connection, wish) for wish in wishes]


def _one(carillon: Carillon, connection: Connection, wish: Wish | Exception) -> Answer:
    if isinstance(wish, Exception):
        return wish
    try:
        makes_recipients = any(address_of(name) is not None for name in wish.to)
        if not makes_recipients:  # what is refused has written nothing then
            return carillon.request_within(connection, wish)
        with connection.begin_nested():  # else what the refused one wrote goes
            return carillon.request_within(connection, wish)
    except REFUSALS as error:
        return error
