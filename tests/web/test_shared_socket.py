"""What several web processes accept from."""

from __future__ import annotations

import socket

import pytest
import uvicorn

from web.__main__ import shared_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_several_processes_accept_sends_each_piece_at_once(host: str) -> None:
    with shared_socket(uvicorn.Config("web.__main__:site", host=host, port=0)) as bound:
        bound.listen()
        with socket.create_connection(bound.getsockname()[:2]), bound.accept()[0] as accepted:
            is_at_once = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert is_at_once
