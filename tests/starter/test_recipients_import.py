"""Importing recipients: who is added, changed, merged, subscribed; and what is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.team import attribute_names, default_team_id
from models.topic import UnknownTopic, add_topic
from starter import recipients_import
from starter.csv_file import ImportRefused
from starter.recipients_import import ImportResult, import_recipients

Import = Callable[..., ImportResult]


@pytest.fixture
def imported(engine: Engine, tmp_path: Path) -> Import:
    """Imports a file with this content."""

    def run(content: str | bytes, **options: Any) -> ImportResult:
        path = tmp_path / "people.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_recipients(engine, path, **options)

    return run


@pytest.fixture
def topic(engine: Engine) -> str:
    with engine.begin() as connection:
        add_topic(connection, default_team_id(connection), "news", "News", "explicit")
        add_topic(connection, default_team_id(connection), "double", "Double", "double")
    return "news"


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def people(engine: Engine) -> list[tuple[Any, ...]]:
    """(external id, first name, e-mail address) in the order of ids."""
    return rows(
        engine,
        "SELECT external_id, first_name, address FROM recipient r JOIN contact_point c"
        " ON c.recipient_id = r.id AND channel = 'email' ORDER BY r.id, c.id",
    )


def subscriptions(engine: Engine) -> dict[str, tuple[str, str]]:
    """State and source by e-mail address."""
    found = rows(
        engine,
        "SELECT address, s.state, source FROM subscription s JOIN contact_point c"
        " ON c.recipient_id = s.recipient_id AND c.channel = 'email' AND s.channel = 'email'",
    )
    return {address: (state, source) for address, state, source in found}


def leave(engine: Engine, address: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE subscription SET state = 'left', source = 'link' WHERE recipient_id ="
                " (SELECT recipient_id FROM contact_point WHERE address = :address)"
            ),
            {"address": address},
        )


def counts(result: ImportResult) -> tuple[int, int, int, int, int]:
    """added, updated, unchanged, merged, rejected; they add up to the rows."""
    found = (result.added, result.updated, result.unchanged, result.merged, result.rejected)
    assert sum(found) == result.rows
    return found


def test_every_column_is_stored_in_its_normal_form(engine: Engine, imported: Import) -> None:
    result = imported(
        "Email,external_id,First_Name,last_name,locale,time_zone,phone,subscribed,plan,city\n"
        "Ada@Example.ORG, p1 ,Ada ,Lovelace,en-gb,Europe/London,+43 660 1234567,yes,'pro\\,\n"
    )

    assert counts(result) == (1, 0, 0, 0, 0)
    assert result.rejects_path is None
    assert rows(
        engine,
        "SELECT external_id, first_name, last_name, locale, time_zone, attributes FROM recipient",
    ) == [("p1", "Ada", "Lovelace", "en_GB", "Europe/London", {"plan": "'pro\\"})]
    assert rows(engine, "SELECT channel, rank, address FROM contact_point ORDER BY 1") == [
        ("email", 0, "ada@example.org"),
        ("sms", 0, "+436601234567"),
    ]
    assert rows(engine, "SELECT count(*) FROM subscription") == [(0,)]
    with engine.connect() as connection:
        assert attribute_names(connection, default_team_id(connection)) == ["city", "plan"]


def test_attributes_are_texts_kept_as_they_are(engine: Engine, imported: Import) -> None:
    imported('email,a,b,c,d\na@x.org,007," x\ty ","line 1\nline ""2"" \\N",é\n')

    assert rows(engine, "SELECT attributes FROM recipient") == [
        ({"a": "007", "b": " x\ty ", "c": 'line 1\nline "2" \\N', "d": "é"},)
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("ada.x.org,,,,,", "email: "),
        (",p1,,,,", "email: There is no e-mail address."),
        ("a@x.org," + "x" * 256 + ",,,,", "external_id: "),
        ("a@x.org,,xx,,,", "locale: "),
        ("a@x.org,,,Vienna,,", "time_zone: "),
        ("a@x.org,,,,0660123,", "phone: "),
        ("a@x.org,,,,,maybe", "subscribed: Write yes or no."),
        ("a@x.org,,,,", "The row has 5 cells, the header 6."),
    ],
)
def test_a_bad_row_is_rejected_and_stops_nothing(
    engine: Engine, imported: Import, cells: str, reason: str
) -> None:
    result = imported(
        f"email,external_id,locale,time_zone,phone,subscribed\n{cells}\nb@x.org,,,,,\n"
    )

    assert counts(result) == (1, 0, 0, 0, 1)
    assert result.rejects_path is not None
    line, said = result.rejects_path.read_text().splitlines()[1].split(",")[:2]
    assert line == "2"
    assert said.strip('"').startswith(reason.split(",")[0])
    assert [address for _, _, address in people(engine)] == ["b@x.org"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("name,mail\nAda,a@x.org\n", "no column 'email'"),
        ("email,first name\na@x.org,Ada\n", "'first name' cannot be the name of a column"),
        ("email,\na@x.org,Ada\n", "column 2 has no name"),
        ("email,EMAIL\na@x.org,b@x.org\n", "two columns 'email'"),
        (b"email\na@x.org\n" * 9 + b"\xe9", "is not UTF-8"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_changes_nothing(
    engine: Engine, imported: Import, content: str | bytes, said: str
) -> None:
    with pytest.raises(ImportRefused, match=said):
        imported(content)

    assert people(engine) == []
    assert (
        rows(engine, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'recipient_import%'")
        == []
    )


def test_an_unknown_topic_changes_nothing(engine: Engine, imported: Import) -> None:
    with pytest.raises(UnknownTopic, match="There is no topic 'nws'"):
        imported("email\na@x.org\n", topic="nws")
    with pytest.raises(ImportRefused, match="--topic"):
        imported("email\na@x.org\n", resubscribe=True)

    assert people(engine) == []


def test_a_header_alone_is_an_import_of_nobody(engine: Engine, imported: Import) -> None:
    assert counts(imported("email,plan\n")) == (0, 0, 0, 0, 0)
    assert rows(engine, "SELECT attribute_names FROM team") == [([],)]


def test_the_same_file_again_writes_nothing(engine: Engine, imported: Import, topic: str) -> None:
    content = (
        "email,external_id,first_name,phone,subscribed,plan\n"
        "a@x.org,1,Ada,+436601234567,,pro\nb@x.org,,Bob,,no,\nB@x.org,,Bobby,,,free\nbad,,,,,\n"
    )
    first = imported(content, topic=topic)
    stored = "SELECT xmin, ctid, r.* FROM {} r ORDER BY ctid"
    tables = ("recipient", "contact_point", "subscription")
    before = [rows(engine, stored.format(table)) for table in tables]

    second = imported(content, topic=topic)

    assert counts(first) == (2, 0, 0, 1, 1)
    assert counts(second) == (0, 0, 2, 1, 1)
    assert (first.subscribed, first.left) == (1, 1)
    assert (second.subscribed, second.left) == (0, 0)
    assert [rows(engine, stored.format(table)) for table in tables] == before


def test_an_empty_cell_erases_nothing(engine: Engine, imported: Import) -> None:
    imported("email,first_name,phone,locale,plan,city\na@x.org,Ada,+436601234567,de,pro,Wien\n")

    result = imported("email,first_name,phone,locale,plan,city\na@x.org,,,,,Graz\n")

    assert counts(result) == (0, 1, 0, 0, 0)
    assert rows(engine, "SELECT first_name, locale, attributes FROM recipient") == [
        ("Ada", "de", {"plan": "pro", "city": "Graz"})
    ]
    assert rows(engine, "SELECT count(*) FROM contact_point") == [(2,)]


def test_the_later_row_wins_in_each_field_that_it_fills(engine: Engine, imported: Import) -> None:
    result = imported(
        "email,external_id,first_name,last_name,phone,plan,city\n"
        "a@x.org,1,Ada,L,,pro,\nb@x.org,2,Bob,,,,\n"
        "new@x.org,1,,Lovelace,+436601234567,,Wien\na@x.org,1,Augusta,,,free,\n"
    )

    assert counts(result) == (2, 0, 0, 2, 0)
    assert people(engine) == [("1", "Augusta", "a@x.org"), ("2", "Bob", "b@x.org")]
    assert rows(engine, "SELECT last_name, attributes FROM recipient WHERE external_id = '1'") == [
        ("Lovelace", {"plan": "free", "city": "Wien"})
    ]
    assert rows(engine, "SELECT address FROM contact_point WHERE channel = 'sms'") == [
        ("+436601234567",)
    ]


def test_an_external_id_finds_a_person_whose_address_changed(
    engine: Engine, imported: Import
) -> None:
    imported("email,external_id\nold@x.org,1\n")
    with engine.begin() as connection:
        connection.execute(text("UPDATE contact_point SET verified_at = now()"))

    result = imported("email,external_id\nnew@x.org,1\n")

    assert counts(result) == (0, 1, 0, 0, 0)
    assert people(engine) == [("1", "", "new@x.org")]
    assert rows(engine, "SELECT verified_at FROM contact_point") == [(None,)]


def test_a_row_without_external_id_means_the_first_who_has_its_address(
    engine: Engine, imported: Import
) -> None:
    imported("email,external_id,first_name\nfamily@x.org,1,Ada\nfamily@x.org,2,Bob\n")

    result = imported("email,first_name\nFamily@x.org,Augusta\n")

    assert counts(result) == (0, 1, 0, 0, 0)
    assert people(engine) == [("1", "Augusta", "family@x.org"), ("2", "Bob", "family@x.org")]


def test_a_new_external_id_is_given_to_who_has_the_address_and_none(
    engine: Engine, imported: Import
) -> None:
    imported("email,first_name\na@x.org,Ada\n")
    content = "email,external_id\na@x.org,1\na@x.org,2\n"

    assert counts(imported(content)) == (1, 1, 0, 0, 0)
    assert people(engine) == [("1", "Ada", "a@x.org"), ("2", "", "a@x.org")]
    assert counts(imported(content)) == (0, 0, 2, 0, 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_rows_with_and_without_external_id_meet_by_address(
    engine: Engine, imported: Import, order: tuple[int, ...]
) -> None:
    lines = ("a@x.org,1,", "a@x.org,,Ada", "b@x.org,,Bob")
    content = "email,external_id,first_name\n" + "\n".join(lines[index] for index in order)

    assert counts(imported(content)) == (2, 0, 0, 1, 0)
    assert sorted(people(engine), key=str) == [("1", "Ada", "a@x.org"), (None, "Bob", "b@x.org")]
    assert counts(imported(content)) == (0, 0, 2, 1, 0)


def test_with_a_topic_people_are_subscribed_or_leave(
    engine: Engine, imported: Import, topic: str
) -> None:
    result = imported("email,subscribed\na@x.org,yes\nb@x.org,\nc@x.org,no\n", topic=topic)

    assert (result.subscribed, result.left, result.stayed_left) == (2, 1, 0)
    assert subscriptions(engine) == {
        "a@x.org": ("subscribed", "import"),
        "b@x.org": ("subscribed", "import"),
        "c@x.org": ("left", "import"),
    }


def test_subscribed_no_ends_a_subscription(engine: Engine, imported: Import, topic: str) -> None:
    imported("email\na@x.org\n", topic=topic)

    result = imported("email,subscribed\na@x.org,no\n", topic=topic)

    assert (result.unchanged, result.left) == (1, 1)
    assert subscriptions(engine) == {"a@x.org": ("left", "import")}


def test_who_has_left_stays_so_unless_asked_back(
    engine: Engine, imported: Import, topic: str
) -> None:
    imported("email\na@x.org\n", topic=topic)
    leave(engine, "a@x.org")

    again = imported("email,subscribed\na@x.org,yes\n", topic=topic)
    assert (again.subscribed, again.stayed_left) == (0, 1)
    assert subscriptions(engine) == {"a@x.org": ("left", "link")}

    back = imported("email\na@x.org\n", topic=topic, resubscribe=True)
    assert (back.subscribed, back.stayed_left) == (1, 0)
    assert subscriptions(engine) == {"a@x.org": ("subscribed", "import")}


def test_subscribed_no_is_stronger_than_resubscribe(
    engine: Engine, imported: Import, topic: str
) -> None:
    imported("email\na@x.org\n", topic=topic)
    leave(engine, "a@x.org")

    imported("email,subscribed\na@x.org,no\n", topic=topic, resubscribe=True)

    assert subscriptions(engine) == {"a@x.org": ("left", "link")}


def test_double_opt_in_makes_people_pending_but_keeps_who_is_subscribed(
    engine: Engine, imported: Import, topic: str
) -> None:
    imported("email\na@x.org\nb@x.org\nc@x.org\n", topic="double")
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE subscription SET state = 'subscribed' WHERE recipient_id ="
                " (SELECT recipient_id FROM contact_point WHERE address = 'b@x.org')"
            )
        )
    leave(engine, "c@x.org")

    result = imported("email\na@x.org\nb@x.org\nc@x.org\n", topic="double", resubscribe=True)

    assert (result.subscribed, result.pending) == (0, 1)
    states = {address: state for address, (state, _) in subscriptions(engine).items()}
    assert states == {"a@x.org": "pending", "b@x.org": "subscribed", "c@x.org": "pending"}


def test_without_a_topic_subscriptions_are_not_touched(
    engine: Engine, imported: Import, topic: str
) -> None:
    imported("email\na@x.org\n", topic=topic)

    imported("email,subscribed\na@x.org,no\n")

    assert subscriptions(engine) == {"a@x.org": ("subscribed", "import")}


def test_people_of_many_chunks_are_merged_over_all_of_them(
    engine: Engine, imported: Import, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients_import, "CHUNK", 7)
    content = "email,first_name\n" + "".join(
        f"p{number % 80}@x.org,N{number}\n" for number in range(100)
    )

    assert counts(imported(content, topic=topic)) == (80, 0, 0, 20, 0)
    assert counts(imported(content, topic=topic)) == (0, 0, 80, 20, 0)
    names = [name for _, name, _ in people(engine)]
    assert names == [f"N{number + 80 if number < 20 else number}" for number in range(80)]


def test_a_kill_leaves_whole_chunks_and_the_next_import_completes(
    engine: Engine, imported: Import, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients_import, "CHUNK", 10)
    monkeypatch.setattr(recipients_import, "_SESSIONS", 1)
    content = "email\n" + "".join(f"p{number}@x.org\n" for number in range(50))

    class Killed(BaseException):
        pass

    def stop(bytes_done: int, rows_done: int) -> None:
        if people(engine):
            raise Killed

    with pytest.raises(Killed):
        imported(content, topic=topic, on_progress=stop)
    left = len(people(engine))
    assert left in {10, 20, 30, 40}
    assert len(subscriptions(engine)) == left

    assert counts(imported(content, topic=topic)) == (50 - left, 0, left, 0, 0)
    assert len(subscriptions(engine)) == 50


def test_two_imports_at_once_wait_for_each_other(
    engine: Engine, tmp_path: Path, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients_import, "CHUNK", 50)
    numbers = list(range(400))
    results: list[ImportResult] = []

    def run(name: str, order: list[int]) -> None:
        path = tmp_path / f"{name}.csv"
        path.write_text("email\n" + "".join(f"p{number}@x.org\n" for number in order))
        results.append(import_recipients(engine, path, topic=topic))

    threads = [
        threading.Thread(target=run, args=("a", numbers)),
        threading.Thread(target=run, args=("b", numbers[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(counts(result) for result in results) == [(0, 0, 400, 0, 0), (400, 0, 0, 0, 0)]
    assert rows(engine, "SELECT count(*), count(DISTINCT address) FROM contact_point") == [
        (400, 400)
    ]


def test_progress_ends_with_the_whole_file(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email\n" + "".join(f"p{number}@x.org\n" for number in range(100)) + "bad\n")
    told: list[tuple[int, int]] = []

    import_recipients(engine, path, on_progress=lambda *done: told.append(done))

    assert told == sorted(told)
    assert told[-1] == (path.stat().st_size, 101)


def test_rejected_cells_are_no_formulas(imported: Import) -> None:
    result = imported('email,first_name,phone\n=cmd(),"\t=1",+1\n')

    assert result.rejects_path is not None
    assert result.rejects_path.read_text().splitlines()[1].endswith(",'=cmd(),'\t=1,'+1")


def test_ids_of_new_people_follow_the_file(engine: Engine, imported: Import) -> None:
    imported("email\n" + "".join(f"p{number}@x.org\n" for number in range(30, 0, -1)))

    assert rows(engine, "SELECT max(id) - min(id) + 1 FROM recipient") == [(30,)]
    assert [address for _, _, address in people(engine)] == [
        f"p{n}@x.org" for n in range(30, 0, -1)
    ]
