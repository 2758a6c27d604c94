"""Times as bodies and queries say them: RFC 3339, with a zone."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import WrapValidator

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _read(given: object, _: object) -> datetime:
    """Pydantic itself also takes seconds since 1970 for a time, which nobody means who writes 0.5."""
    if isinstance(given, datetime):
        return given
    if not isinstance(given, str) or not _RFC_3339.fullmatch(given):
        raise ValueError("A time is written like 2026-12-24T18:00:00Z, with its zone.")
    return datetime.fromisoformat(given.upper())


Moment = Annotated[datetime, WrapValidator(_read)]
"""An aware time."""
