"""What becomes of a connection once a request or a message is read."""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import StrEnum

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ending(StrEnum):
    """All but ANSWER leave the client without one."""

    ANSWER = "answer"
    CLOSE = "close"
    HANG = "hang"
    RESET = "reset"


def reset(transport: asyncio.Transport) -> None:
    """Close a connection with RST, as a broken load balancer does."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
