"""TLS before a server that has none: certificates made on the spot, and a front that ends TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HOUR = dt.timedelta(hours=1)
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


@dataclass(frozen=True)
class Certificates:
    """Files: an authority, and a certificate for 127.0.0.1 that it has signed, with its key."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificates(folder / "ca.pem", folder / "leaf.pem", folder / "leaf.key")
    authority, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {folder.name}")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])

    def signed(name: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(dt.datetime.now(dt.UTC) - _HOUR)
            .not_valid_after(dt.datetime.now(dt.UTC) + _HOUR)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        made = made if is_ca else made.add_extension(here, critical=False)
        return made.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    files.authority.write_bytes(signed(issuer, authority, is_ca=True))
    files.certificate.write_bytes(signed(subject, leaf, is_ca=False))
    files.key.touch(0o600)  # libpq refuses a key that others may read
    files.key.write_bytes(
        leaf.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class TlsFront:
    """Listens on 127.0.0.1, ends TLS and passes on what is inside to `server`, a host:port or a Unix
    socket. PostgreSQL's clients ask for TLS in the clear first; others begin with it."""

    def __init__(
        self, files: Certificates, server: str, *, asks_first: bool, wants_client: bool = False
    ) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.certificate, files.key)
        self._context.set_alpn_protocols(["h2", "postgresql"])
        if wants_client:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(files.authority)
        self._server = server
        self._asks_first = asks_first
        self.encrypted = 0
        self.port = 0

    async def listen(self) -> asyncio.Server:
        context = None if self._asks_first else self._context
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            if self._asks_first and not await self._is_asked(reader, writer):
                return
            self.encrypted += 1
            if self._server.startswith("/"):
                inner = await asyncio.open_unix_connection(self._server)
            else:
                host, _, port = self._server.rpartition(":")
                inner = await asyncio.open_connection(host, int(port))
            await asyncio.gather(_pump(reader, inner[1]), _pump(inner[0], writer))
        writer.close()

    async def _is_asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the client asks for TLS; it is on then. Anything else is hung up on."""
        while (code := int.from_bytes((await reader.readexactly(8))[4:])) == _GSS_REQUEST:
            writer.write(b"N")
        if code != _SSL_REQUEST:
            writer.close()
            return False
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(self._context)
        return True


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    sink.close()


@contextlib.contextmanager
def running(front: TlsFront) -> Iterator[TlsFront]:
    """The front, listening in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(front.listen(), loop).result(10)
    try:
        yield front
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
