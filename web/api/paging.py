"""Pages by cursor: a cursor says where the next page begins, is signed, and good for its list alone."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import orjson
from fastapi import Depends, Query, Request
from pydantic import BaseModel

from web.api.problem import FieldError, Problem

T = TypeVar("T")
Row = TypeVar("Row")

MOST = 100
_MAC_BYTES = 12
_PURPOSE = b"carillon/cursor/1"


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool
    next: str | None = None
    """The cursor of the next page."""


class Paging:
    """How many, and from where on; of one request."""

    def __init__(self, secret: bytes, list_name: str, limit: int, cursor: str | None) -> None:
        """`list_name` tells the lists apart: route and team. Raises Problem for a cursor not ours."""
        self._key = hmac.digest(secret, _PURPOSE + list_name.encode(), "sha256")
        self.limit = limit
        self.after: list[int] | None = None if cursor is None else self._read(cursor)
        """The numbers that `page` was given for the last row of the page before; None: the first."""

    @property
    def fetch(self) -> int:
        """Rows to ask for: one more than shown, which tells whether there are more."""
        return self.limit + 1

    def page(
        self, rows: Sequence[Row], shown: Callable[[Row], T], where: Callable[[Row], Sequence[int]]
    ) -> Page[T]:
        """The page of up to `fetch` rows; `where` says after which numbers the next page begins."""
        some, has_more = rows[: self.limit], len(rows) > self.limit
        return Page(
            data=[shown(row) for row in some],
            has_more=has_more,
            next=self._write(where(some[-1])) if has_more else None,
        )

    def _write(self, numbers: Sequence[int]) -> str:
        said = orjson.dumps(list(numbers))
        mac = hmac.digest(self._key, said, "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(mac + said).rstrip(b"=").decode()

    def _read(self, cursor: str) -> list[int]:
        try:
            packed = base64.b64decode(
                cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True
            )
        except (binascii.Error, ValueError):
            packed = b""
        mac, said = packed[:_MAC_BYTES], packed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, hmac.digest(self._key, said, "sha256")[:_MAC_BYTES]):
            raise Problem(
                422,
                "bad-cursor",
                "The cursor is not one of this list.",
                errors=[FieldError(pointer="cursor", detail="The cursor is not one of this list.")],
            )
        numbers: list[int] = orjson.loads(said)
        return numbers


def _paging(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST, description="Rows of a page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=500, description="`next` of the page before.")
    ] = None,
) -> Paging:
    secret: bytes = request.app.state.desk.secret
    return Paging(secret, request.scope["route"].path, limit, cursor)


Paged = Annotated[Paging, Depends(_paging)]
