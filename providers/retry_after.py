"""When a provider wants to be asked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from providers.http_transport import header_value

_LONGEST = timedelta(days=1)


def retry_after(headers: bytes) -> timedelta | None:
    """From Retry-After (seconds or a date), else from X-RateLimit-Reset (seconds since 1970).

    None when neither is there or can be read; never negative, and a day at most.
    """
    now = datetime.now(UTC)
    given = header_value(headers, "Retry-After")
    try:
        if given.isdigit():
            wait = timedelta(seconds=int(given[:9]))
        elif given:
            wait = parsedate_to_datetime(given).astimezone(UTC) - now
        else:
            reset = header_value(headers, "X-RateLimit-Reset")
            wait = timedelta(seconds=int(reset[:12]) - now.timestamp())
    except (ValueError, OverflowError):
        return None
    return max(timedelta(0), min(wait, _LONGEST))
