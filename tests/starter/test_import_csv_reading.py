"""How an imported CSV file is read: encodings, delimiters, and everything that may be wrong."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from starter.csv_file import MAX_CELL_LENGTH, ImportRefused, open_csv

Bad = tuple[int, str, list[str]]


def read(
    folder: Path, content: str | bytes
) -> tuple[list[str], list[tuple[int, list[str]]], list[Bad]]:
    """Header, rows and rejects of a file with this content."""
    path = folder / "people.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    bad: list[Bad] = []
    with open_csv(path) as file:
        rows = list(file.rows(lambda line, reason, cells: bad.append((line, reason, cells))))
        return file.header, rows, bad


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(ImportRefused) as refused:
        read(folder, content)
    return str(refused.value)


TEXT = "email,name\nada@example.org,Ada Lovelacé\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.removesuffix("\n").encode(),
        b"\n  \n" + TEXT.encode(),
        TEXT.replace("email", ' "email" '.strip()).encode(),
        TEXT.replace("email,", " email ,").encode(),
    ],
)
def test_usual_encodings_delimiters_and_line_ends_are_recognised(
    tmp_path: Path, content: bytes
) -> None:
    header, rows, bad = read(tmp_path, content)

    assert header == ["email", "name"]
    assert [cells for _, cells in rows] == [["ada@example.org", "Ada Lovelacé"]]
    assert bad == []


def test_a_cell_may_hold_delimiters_quotes_and_lines(tmp_path: Path) -> None:
    _, rows, bad = read(tmp_path, 'email,note\na@x.org,"1;2,""3""\n4"\n\nb@x.org,5\n')

    assert rows == [(2, ["a@x.org", '1;2,"3"\n4']), (5, ["b@x.org", "5"])]
    assert bad == []


def test_a_row_with_too_few_or_too_many_cells_is_rejected_with_its_line(tmp_path: Path) -> None:
    _, rows, bad = read(tmp_path, "email,name\na@x.org\nb@x.org,B\nc@x.org,C,D\n")

    assert rows == [(3, ["b@x.org", "B"])]
    assert bad == [
        (2, "The row has 1 cells, the header 2.", ["a@x.org"]),
        (4, "The row has 3 cells, the header 2.", ["c@x.org", "C", "D"]),
    ]


def test_a_quotation_mark_that_is_not_closed_costs_its_row_alone(tmp_path: Path) -> None:
    rows_after = "".join(f"p{number}@x.org,P\n" for number in range(5_000))

    _, rows, bad = read(tmp_path, f'email,name\na@x.org,"A\n{rows_after}')

    assert len(rows) == 5_000
    assert rows[0] == (3, ["p0@x.org", "P"])
    assert rows[-1][0] == 5_002
    assert bad == [(2, "A quotation mark is opened and not closed.", ['a@x.org,"A'])]


def test_one_that_is_closed_by_a_later_row_costs_its_row_alone(tmp_path: Path) -> None:
    _, rows, bad = read(tmp_path, 'email,name\na@x.org,"A\nb@x.org,B\nc@x.org,"C"\n')

    assert rows == [(3, ["b@x.org", "B"]), (4, ["c@x.org", "C"])]
    assert [line for line, _, _ in bad] == [2]


def test_a_lost_quotation_mark_in_a_huge_file_is_noticed_before_its_end(tmp_path: Path) -> None:
    lines = "".join(f"p{number}@x.org,{'P' * 90}\n" for number in range(30_000))

    _, rows, bad = read(tmp_path, f'email,name\na@x.org,"A\n{lines}')

    assert len(rows) == 30_000
    assert len(bad) == 1


def test_a_quotation_mark_inside_a_quoted_cell_must_be_doubled(tmp_path: Path) -> None:
    _, rows, bad = read(tmp_path, 'email,name\na@x.org,"A" B\nb@x.org,B "C" D\n')

    assert rows == [(3, ["b@x.org", 'B "C" D'])]
    assert bad == [
        (2, "A quotation mark inside a quoted cell must be written twice.", ['a@x.org,"A" B'])
    ]


def test_nul_and_cells_that_are_too_long_cost_their_rows(tmp_path: Path) -> None:
    long = "x" * MAX_CELL_LENGTH
    content = (
        f"email,name\na@x.org,A\0\nb@x.org,{long}\nc@x.org,{long}x\n"
        f'd@x.org,"{long}\n"\ne@x.org,{"y" * 2_000_000}\nf@x.org,"F\0\n"\ng@x.org,G\n'
    )

    _, rows, bad = read(tmp_path, content)

    assert [cells[0] for _, cells in rows] == ["b@x.org", "g@x.org"]
    assert [(line, reason) for line, reason, _ in bad] == [
        (2, "The row contains the character NUL."),
        (4, "A cell has more than 10,000 characters."),
        (5, "A cell has more than 10,000 characters."),
        (7, "A cell has more than 10,000 characters."),
        (8, "The row contains the character NUL."),
    ]
    assert all(len(cells[0]) <= MAX_CELL_LENGTH for _, _, cells in bad)


def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    assert "line 2 has more than" in refusal(tmp_path, "email\n" + "x" * 5_000_000)


def test_a_record_that_never_ends_is_given_up(tmp_path: Path) -> None:
    cell = '"' + f"{'x' * 999}\n" * 900 + '",'

    _, rows, bad = read(tmp_path, "email,name\n" + cell * 6 + "\nb@x.org,B\n")

    assert rows[-1][1] == ["b@x.org", "B"]
    assert bad


def test_bytes_that_are_no_text_are_refused_with_line_and_byte(tmp_path: Path) -> None:
    good = b"email,name\n" + b"a@x.org,A\n" * 200_000

    sentence = refusal(tmp_path, good + "b@x.org,Bücher\n".encode("latin-1"))

    assert "line 200002" in sentence
    assert f"byte {len(good) + 10} " in sentence
    assert "UTF-8" in sentence


def test_half_a_character_at_the_end_is_refused(tmp_path: Path) -> None:
    assert "line 2, byte 11 " in refusal(tmp_path, b"email\na@x.\xc3")
    assert "UTF-16" in refusal(
        tmp_path, codecs.BOM_UTF16_LE + "email\na".encode("utf-16-le") + b"x"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n  \n", "is empty"),
        (codecs.BOM_UTF8, "is empty"),
        ("email\n".encode("utf-16-le"), "NUL"),
        (b"PK\x03\x04\x14\0\0\0", "NUL"),
        ('"email,name\n', "quotation mark"),
        (",".join(["email", *(f"c{number}" for number in range(200))]), "201 columns"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_refused(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    assert said in refusal(tmp_path, content)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is not a file"), (tmp_path / "none.csv", "There is no")):
        with pytest.raises(ImportRefused, match=said), open_csv(path):
            pass
