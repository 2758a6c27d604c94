"""Carillon's client: send messages and raise events over its HTTP API.

    from carillon_client import Carillon

    carillon = Carillon()  # CARILLON_URL and CARILLON_API_KEY
    sent = carillon.send("order-shipped", to="customer-42", variables={"order": "A-17"})

`AsyncCarillon` is the same for asyncio.
"""

from carillon_client.answers import (
    Bulk,
    BulkItem,
    Cancelled,
    Delivery,
    DryRun,
    Event,
    Message,
    Sent,
    TraceEntry,
)
from carillon_client.async_client import AsyncCarillon
from carillon_client.client import Carillon
from carillon_client.errors import (
    ApiError,
    BadRequest,
    CarillonError,
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    NotConfigured,
    NotFound,
    Problem,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from carillon_client.new_message import NewMessage, SendOptions
from carillon_client.retries import NO_RETRIES, Retries

__all__ = [
    "NO_RETRIES",
    "ApiError",
    "AsyncCarillon",
    "BadRequest",
    "Bulk",
    "BulkItem",
    "Cancelled",
    "Carillon",
    "CarillonError",
    "Conflict",
    "Delivery",
    "DryRun",
    "Event",
    "FieldError",
    "Forbidden",
    "Invalid",
    "Message",
    "NewMessage",
    "NotConfigured",
    "NotFound",
    "Problem",
    "Retries",
    "SendOptions",
    "Sent",
    "ServerError",
    "TooManyRequests",
    "TraceEntry",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
]
