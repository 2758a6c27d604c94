"""Requests with defaults, and a poll that waits for all answers."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import time
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.answer import Answer
from providers.protocol import Mail, Reply, Request, Sender, Session, Skeleton

SENDER = Sender(address="news@shop.example", name="The Shop", reply_to="help@shop.example")
SKELETON = Skeleton(
    subject="Hello -name-", html="<p>Hello -name-</p>", text="Hello -name-", keys=("-name-",)
)
A_MOMENT = timedelta(seconds=0.05)


def a_mail(number: int = 1, **changes: object) -> Mail:
    """A rendered mail whose reference and address are told by its number."""
    mail = Mail(
        ordinal=number,
        reference=reference(number),
        address=f"ann{number}@people.example",
        name=f"Ann {number}",
        unsubscribe_url=f"https://shop.example/u/{number}",
        slots=("Ann",),
        subject=f"News {number}",
        html=f"<p>Hello {number}</p>",
        text=f"Hello {number}",
    )
    return mail._replace(**changes)  # type: ignore[arg-type]  # names and types are the tests'


def reference(number: int) -> str:
    return f"ref-{number}"


def a_request(
    number: int = 1,
    mail: Mail | None = None,
    *,
    skeleton: Skeleton | None = None,
    call_within: float = 30.0,
    sender: Sender = SENDER,
) -> Request:
    return Request(
        number=number,
        sender=sender,
        mails=[mail or a_mail(number)],
        skeleton=skeleton,
        call_by=time.monotonic() + call_within,
    )


def replies_to(session: Session, *requests: Request, within: float = 5.0) -> list[Reply]:
    """Submits all, polls until all are answered, and a moment longer for answers too many."""
    for request in requests:
        session.submit(request)
    replies: list[Reply] = []
    until = time.monotonic() + within
    while len(replies) < len(requests):
        assert time.monotonic() < until, f"{len(replies)} of {len(requests)} answered"
        replies += session.poll(A_MOMENT)
    return replies + session.poll(timedelta(0))


def answer_to(session: Session, request: Request, within: float = 5.0) -> Answer:
    """The one answer to one request."""
    (reply,) = replies_to(session, request, within=within)
    assert reply.number == request.number
    return reply.answer


def a_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1 and the file that a client must trust for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / "trusted.pem", folder / "private.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return context, trusted
