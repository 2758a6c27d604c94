"""What every adapter must do, whatever it speaks: run by the test_…_contract modules."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar, Protocol

import pytest

from domain.answer import CALL_BY_MISSED, Answer, AnswerClass
from providers.protocol import Request, Session
from tests.providers.provider_builders import a_mail, a_request, answer_to, reference, replies_to


class World(Protocol):
    """An adapter and the server that it speaks to."""

    def session(self, *, connections: int = 4, request_timeout: float = 5.0) -> Session:
        """A session with the server."""

    def session_to(self, port: int) -> Session:
        """A session with whatever listens on `port`, or nothing."""

    def references(self) -> list[str]:
        """References of the messages that the server has read to their end, in order."""

    def header_names(self) -> set[str]:
        """All names that stand as header fields in what the server read."""

    def set_to_answer(self, said: object) -> None:
        """`said` is one of the adapter's CODES."""

    def set_to_close_unanswered(self) -> None:
        """After a message was read to its end, and on every connection."""

    def set_to_hang(self) -> None:
        """Neither answer nor close after a message was read to its end."""

    def set_to_accept(self) -> None:
        """The default again."""

    def close_idle_connections(self) -> None:
        """As servers do after an idle time-out."""

    def request(self, number: int, **changes: object) -> Request:
        """A request of one mail, in the adapter's form."""

    def close(self) -> None:
        """End the server."""


class LocalWorld(Protocol):
    """An adapter that calls nobody."""

    def session(self) -> Session:
        """A session."""

    def request(self, number: int, **changes: object) -> Request:
        """A request of one message, in the adapter's form."""


class LocalContract:
    """For adapters that call nobody: subclass it, with a `world` fixture."""

    @pytest.fixture
    def session(self, world: LocalWorld) -> Iterator[Session]:
        session = world.session()
        yield session
        session.close()

    def test_message_is_accepted_and_has_a_name(self, world: LocalWorld, session: Session) -> None:
        answer = answer_to(session, world.request(7))

        assert answer.kind is AnswerClass.ACCEPTED
        assert answer.provider_message_id

    def test_call_by_already_missed_is_not_accepted(
        self, world: LocalWorld, session: Session
    ) -> None:
        assert answer_to(session, world.request(1, call_within=-1.0)) == CALL_BY_MISSED

    def test_open_requests_are_each_answered_once(
        self, world: LocalWorld, session: Session
    ) -> None:
        replies = replies_to(session, *(world.request(number) for number in range(40)))

        assert Counter(reply.number for reply in replies) == Counter(range(40))
        assert session.open_requests == 0

    def test_poll_without_requests_returns_at_once(self, session: Session) -> None:
        began = time.monotonic()

        assert session.poll(timedelta(seconds=5)) == []
        assert time.monotonic() - began < 1

    def test_check_has_nothing_to_complain_of(self, session: Session) -> None:
        assert session.check().kind is AnswerClass.ACCEPTED

    def test_close_gives_open_requests_up(self, world: LocalWorld, session: Session) -> None:
        session.submit(world.request(1))

        session.close()
        session.close()  # harmless

        assert session.open_requests == 0

    def test_requests_carry_one_message(self, world: LocalWorld, session: Session) -> None:
        one = world.request(1)

        with pytest.raises(ValueError, match="one mail"):
            session.submit(replace(one, mails=[*one.mails, *one.mails]))


class Contract:
    """Subclass it, with CODES and a `world` fixture."""

    CHECK_WITHOUT_SERVER: ClassVar[AnswerClass] = AnswerClass.UNAVAILABLE
    """What `check` says when nobody listens; ACCEPTED where an account has no server of its own."""
    CODES: ClassVar[list[tuple[object, AnswerClass]]] = []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "documented" in metafunc.fixturenames:
            codes = self.CODES
            metafunc.parametrize("documented", codes, ids=[f"{said}-{k}" for said, k in codes])

    @pytest.fixture
    def session(self, world: World) -> Iterator[Session]:
        session = world.session()
        yield session
        session.close()

    def test_accepted_message_carries_our_reference(self, world: World, session: Session) -> None:
        answer = answer_to(session, world.request(7))

        assert answer.kind is AnswerClass.ACCEPTED
        assert answer.provider_message_id
        assert world.references() == [reference(7)]

    def test_documented_code_has_its_class(
        self, world: World, session: Session, documented: tuple[object, AnswerClass]
    ) -> None:
        said, kind = documented
        world.set_to_answer(said)

        answer = answer_to(session, world.request(1))

        assert answer.kind is kind, answer
        assert "@" not in answer.detail + answer.code
        assert "ann1" not in answer.detail
        assert session.open_requests == 0

    def test_refusal_of_one_leaves_the_next_alone(self, world: World, session: Session) -> None:
        for said, _ in self.CODES:
            world.set_to_answer(said)
            answer_to(session, world.request(1))
            world.set_to_accept()
            assert answer_to(session, world.request(2)).kind is AnswerClass.ACCEPTED, said

    def test_closed_unanswered_is_unknown_and_was_sent_once(
        self, world: World, session: Session
    ) -> None:
        world.set_to_close_unanswered()

        assert answer_to(session, world.request(1)).kind is AnswerClass.UNKNOWN
        assert world.references() == [reference(1)]

    def test_closed_unanswered_on_a_kept_connection_is_unknown_and_was_sent_once(
        self, world: World
    ) -> None:
        session = world.session(connections=1)
        answer_to(session, world.request(1))
        world.set_to_close_unanswered()

        answer = answer_to(session, world.request(2))
        time.sleep(0.1)  # for a copy that a retry would make

        assert answer.kind is AnswerClass.UNKNOWN
        assert world.references() == [reference(1), reference(2)]
        session.close()

    def test_connection_closed_while_idle_costs_nothing(self, world: World) -> None:
        session = world.session(connections=1)
        answer_to(session, world.request(1))
        world.close_idle_connections()
        time.sleep(0.05)

        assert answer_to(session, world.request(2)).kind is AnswerClass.ACCEPTED
        assert world.references() == [reference(1), reference(2)]
        session.close()

    def test_no_connection_is_unavailable(self, world: World) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        session = world.session_to(port)

        assert answer_to(session, world.request(1)).kind is AnswerClass.UNAVAILABLE
        assert session.check().kind is self.CHECK_WITHOUT_SERVER
        session.close()

    def test_no_answer_in_time_is_unknown_and_was_sent_once(self, world: World) -> None:
        session = world.session(request_timeout=0.3)
        world.set_to_hang()
        began = time.monotonic()

        answer = answer_to(session, world.request(1))

        assert answer.kind is AnswerClass.UNKNOWN
        assert 0.25 < time.monotonic() - began < 1.5
        assert world.references() == [reference(1)]
        session.close()

    def test_call_by_missed_in_the_queue_writes_nothing(self, world: World) -> None:
        session = world.session(connections=1, request_timeout=0.4)
        world.set_to_hang()

        replies = replies_to(session, world.request(1), world.request(2, call_within=0.1))

        assert dict(replies)[2] == CALL_BY_MISSED
        assert world.references() == [reference(1)]
        session.close()

    def test_call_by_already_missed_writes_nothing(self, world: World, session: Session) -> None:
        assert answer_to(session, world.request(1, call_within=-1.0)) == CALL_BY_MISSED
        assert world.references() == []

    @pytest.mark.parametrize(
        "hostile",
        [
            "Ann\r\nX-Evil: 1",
            "Ann\nBcc: all@x.example",
            "Ann\x00",
            "Ann\u0085X-Evil: 1",
            "A\u2028B",
        ],
    )
    def test_hostile_name_writes_no_header(
        self, world: World, session: Session, hostile: str
    ) -> None:
        for changes in ({"name": hostile}, {"subject": hostile}, {"address": f"{hostile}@x.org"}):
            answer_to(session, world.request(1, **changes))

        assert not world.header_names() & {"x-evil", "bcc"}

    def test_open_requests_are_each_answered_once(self, world: World, session: Session) -> None:
        requests = [world.request(number) for number in range(40)]
        for request in requests:
            session.submit(request)
        assert session.open_requests == 40

        replies = replies_to(session, world.request(40))  # takes the first answers along
        while session.open_requests:
            replies += session.poll(timedelta(seconds=1))

        assert Counter(reply.number for reply in replies) == Counter(range(41))
        assert all(reply.answer.kind is AnswerClass.ACCEPTED for reply in replies)
        assert sorted(world.references()) == sorted(reference(number) for number in range(41))

    def test_poll_without_requests_returns_at_once(self, session: Session) -> None:
        began = time.monotonic()

        assert session.poll(timedelta(seconds=5)) == []
        assert time.monotonic() - began < 1

    def test_check_proves_key_and_reachability(self, world: World, session: Session) -> None:
        assert session.check().kind is AnswerClass.ACCEPTED
        assert world.references() == []

    def test_check_may_be_asked_while_requests_are_open(
        self, world: World, session: Session
    ) -> None:
        session.submit(world.request(1))

        assert session.check().kind is AnswerClass.ACCEPTED
        answers: list[Answer] = [reply.answer for reply in session.poll(timedelta(seconds=5))]
        assert [answer.kind for answer in answers] == [AnswerClass.ACCEPTED]

    def test_close_gives_open_requests_up(self, world: World) -> None:
        session = world.session()
        world.set_to_hang()
        session.submit(world.request(1))
        session.poll(timedelta(seconds=0.1))

        session.close()
        session.close()  # harmless

        assert session.open_requests == 0


def changed_request(number: int, changes: dict[str, object]) -> Request:
    """`a_request` of a mail with `changes`; `call_within` is the request's."""
    mail_changes = dict(changes)
    call_within = mail_changes.pop("call_within", 30.0)
    assert isinstance(call_within, float)
    return a_request(number, a_mail(number, **mail_changes), call_within=call_within)
