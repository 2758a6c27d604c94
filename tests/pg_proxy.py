"""A proxy before PostgreSQL that forwards a COMMIT and never tells its reply."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from pathlib import Path

_COMMIT = b"COMMIT\0"


class CommitEater:
    """Listens on a Unix socket like PostgreSQL's. Once armed with a text, the session in which that
    text was sent loses its connection at its next COMMIT, after PostgreSQL has done it."""

    def __init__(self, folder: Path, server: Path) -> None:
        """`server`: the real server's socket; ours gets the same name in `folder`."""
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / server.name))
        self._listener.listen(50)
        self._armed: bytes | None = None
        self.eaten = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, marker: str) -> None:
        """Eat the reply of the COMMIT of the next transaction that sends `marker`; once."""
        self._armed = marker.encode()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._server))
        is_marked = False
        with client, server, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]  # sockets only
                    if not data:
                        return
                    if key.fileobj is server:
                        client.sendall(data)
                        continue
                    is_marked = is_marked or (self._armed is not None and self._armed in data)
                    server.sendall(data)
                    if is_marked and _COMMIT in data:
                        self._armed = None
                        self.eaten += 1
                        server.recv(1 << 16)  # PostgreSQL's "COMMIT": done, and told to nobody
                        return
