"""Writes people.csv and suppressions.csv: 10,000 invented readers of the demo's newsletter.

The same seed gives the same files, byte for byte: `python -m examples.make_people`. Every address
is under example.com, example.net or example.org, which can belong to nobody (RFC 2606).
Rows: PEOPLE good ones, DUPLICATES that repeat a person with other attributes, and the INVALID ones.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

PEOPLE = 10_000
UNSUBSCRIBED = 500
SUPPRESSED = 100
"""Addresses in suppressions.csv; all of them belong to people who are subscribed."""
DUPLICATES = 20

HEADER = (
    *("email", "external_id", "first_name", "last_name", "locale", "time_zone"),
    *("subscribed", "plan", "city", "points"),
)
_SEED = 20261101
_DOMAINS = (
    *("example.com", "example.net", "example.org", "mail.example.com", "post.example.net"),
    *("letters.example.org", "uni.example.org", "home.mail.example.net"),
)
_PLANS = ("free", "free", "free", "plus", "student")
_REASONS = ("hard_bounce", "hard_bounce", "complaint", "manual")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where some of the readers live, and what people are called there."""

    locale: str
    towns: tuple[tuple[str, str], ...]
    """City and its IANA time zone."""
    first: str
    last: str
    """Names, with spaces between them."""


PLACES = (
    Place(
        locale="en_US",
        towns=(
            *(("New York", "America/New_York"), ("Chicago", "America/Chicago")),
            *(("Denver", "America/Denver"), ("Phoenix", "America/Phoenix")),
            *(("Portland", "America/Los_Angeles"), ("Honolulu", "Pacific/Honolulu")),
        ),
        first="Ada Calvin Dolores Ezra Fern Gideon Hattie Ike June Lowell Mabel Otis",
        last="Ashby Birch Calloway Dunmore Ellery Fairbanks Grady Holloway Larkspur Whitlock",
    ),
    Place(
        locale="en_GB",
        towns=(("Bristol", "Europe/London"), ("Leeds", "Europe/London")),
        first="Alfie Beatrix Cedric Daphne Edwin Flora Gwen Hugh Imogen Rupert",
        last="Applegarth Blythe Cobbold Farthing Hathersage Merriweather O'Dell Smythe-Rowe",
    ),
    Place(
        locale="de_DE",
        towns=(("Köln", "Europe/Berlin"), ("Leipzig", "Europe/Berlin"), ("Bern", "Europe/Zurich")),
        first="Anneliese Björn Dörte Friedrich Grete Jürgen Käthe Lukas Sören Ute",
        last="Bäcker Fuchs Größler Hölzel Krähenbühl Müßig Öhler Strauß Vogelsang",
    ),
    Place(
        locale="fr_FR",
        towns=(("Nîmes", "Europe/Paris"), ("Brest", "Europe/Paris"), ("Québec", "America/Toronto")),
        first="Agnès Benoît Chloé Désiré Élodie François Gaëlle Loïc Noémie Zoé",
        last="Aubépine Bellerose D'Arcy Fontaine L'Hôte Montagné Pâquerette Trémaux",
    ),
    Place(
        locale="pt_PT",
        towns=(("Lisbon", "Europe/Lisbon"), ("Ponta Delgada", "Atlantic/Azores")),
        first="Amália Bento Catarina Diogo Inês João Leonor Simão Tomás",
        last="Alecrim Brandão Conceição Falcão Magalhães Quadros Simões Vasconcelos",
    ),
    Place(
        locale="es_AR",
        towns=(("Rosario", "America/Argentina/Buenos_Aires"), ("Montevideo", "America/Montevideo")),
        first="Begoña Ciro Dolores Íñigo Marisol Nélida Óscar Ximena",
        last="Ibáñez Logroño Muñiz Núñez Peñalba Quiñones Zúñiga",
    ),
    Place(
        locale="ne_NP",
        towns=(("Kathmandu", "Asia/Kathmandu"), ("Pokhara", "Asia/Kathmandu")),
        first="Aarati Bikash Deepa Gita Kiran Laxmi Prakash Rukmini सीता हरि",
        last="Adhikari Gurung Rai Shrestha Tamang Thapa थापा",
    ),
    Place(
        locale="hi_IN",
        towns=(("Pune", "Asia/Kolkata"), ("Jaipur", "Asia/Kolkata")),
        first="Aditi Devansh Ishaan Kavya Meera Nikhil Rohan आशा",
        last="Bhandari Deshpande Kulkarni Mistry Pillai Saxena शर्मा",
    ),
    Place(
        locale="ja_JP",
        towns=(("Sendai", "Asia/Tokyo"), ("Nara", "Asia/Tokyo")),
        first="葵 翔太 美咲 健一 Haruka Kenji さくら",
        last="青木 小川 森田 Fujimoto Ishikawa 渡辺",
    ),
    Place(
        locale="he_IL",
        towns=(("Haifa", "Asia/Jerusalem"),),
        first="נועה איתן תמר יואב Shira",
        last="לוי אלון ברק שקד Peretz",
    ),
    Place(
        locale="ar_EG",
        towns=(("Cairo", "Africa/Cairo"), ("Amman", "Asia/Amman")),
        first="ليلى كريم سلمى يوسف Nadia",
        last="المصري حداد نجار Farouk",
    ),
    Place(
        locale="en_AU",
        towns=(
            *(("Adelaide", "Australia/Adelaide"), ("Eucla", "Australia/Eucla")),
            *(("Lord Howe Island", "Australia/Lord_Howe"), ("Chatham", "Pacific/Chatham")),
        ),
        first="Banjo Clancy Darcy Isla Matilda Wren",
        last="Bellbird Coolabah Gumtree Paterson Wattle",
    ),
)

HOSTILE = (
    *('Robert "Bobby" O\'Tables', "<script>alert(1)</script>", "=1+1", "+cmd|' /C calc'!A0"),
    *(
        "@SUM(A1:A9)",
        "-2+3",
        "{{ email }}",
        "{% for x in range(9) %}",
        "%s%n",
        "${7*7}",
        "Ann; DROP",
    ),
    *(
        "Anne, Marie",
        "back\\slash",
        "tab\there",
        "\u202eesrever",
        "zero\u200bwidth",
        "e\u0301clair",
    ),
    *("👩\u200d🚀 Zoë 🎉", "Ṽ̈o̎w̌ė̃l̂s̄", "null", "None", "undefined", "&amp;", "O’Neill & Söhne"),
    *("Wolfeschlegelsteinhausenbergerdorff" * 3, "~c000000.0~", "-unsub-", "ﬀ ligature", "ǅ"),
)
"""First names that break careless software."""

INVALID = (
    ("no-at-sign.example.com", "bad-1", "Nora", "Naught", "en_US", "America/Chicago", "yes"),
    ("", "bad-2", "Emil", "Empty", "de_DE", "Europe/Berlin", "yes"),
    ("two@at@example.com", "bad-3", "Tova", "Twice", "en_GB", "Europe/London", "yes"),
    ("dots..dots@example..com", "bad-4", "Dov", "Dots", "he_IL", "Asia/Jerusalem", "yes"),
    ("olympus@example.com", "bad-5", "Mona", "Martian", "en_US", "Mars/Olympus", "yes"),
    ("locale@example.net", "bad-6", "Lou", "Locale", "english please", "Europe/London", "yes"),
    ("perhaps@example.org", "bad-7", "May", "Bee", "en_GB", "Europe/London", "perhaps"),
)
"""Rows an import must refuse, each for another reason."""

Row = tuple[str, ...]


def make_people() -> list[Row]:
    """The rows of people.csv below its header."""
    chance = Random(_SEED)  # noqa: S311  # nothing here is secret
    people = [_person(number, chance) for number in range(PEOPLE)]
    for number in chance.sample(range(PEOPLE), UNSUBSCRIBED):
        people[number] = _with(people[number], "subscribed", "no")
    rows = list(people)
    for person in chance.sample(people, DUPLICATES):
        repeated = _with(person, "points", str(int(person[-1]) + 50))
        rows.insert(chance.randrange(rows.index(person) + 1, len(rows) + 1), repeated)
    for row in INVALID:
        rows.insert(chance.randrange(len(rows)), (*row, "free", "Nowhere", "0"))
    return rows


def make_suppressions(people: Iterable[Row]) -> list[Row]:
    """The rows of suppressions.csv below its header, addresses of subscribed people."""
    chance = Random(_SEED + 1)  # noqa: S311  # nothing here is secret
    invalid = {row[0] for row in INVALID}
    subscribed = {row[0]: None for row in people if row[6] == "yes" and row[0] not in invalid}
    chosen = chance.sample(list(subscribed), SUPPRESSED)
    return [(address, chance.choice(_REASONS)) for address in chosen]


def write(folder: Path) -> None:
    """Write both files into `folder`."""
    people = make_people()
    _write(folder / "people.csv", HEADER, people)
    _write(folder / "suppressions.csv", ("email", "reason"), make_suppressions(people))


def _person(number: int, chance: Random) -> Row:
    place = chance.choice(PLACES)
    city, zone = chance.choice(place.towns)
    first, last = chance.choice(place.first.split()), chance.choice(place.last.split())
    if number % 100 == 7:
        first = HOSTILE[number // 100 % len(HOSTILE)]
    elif number % 100 == 8:
        first = ""
    if number % 40 == 3:
        city = ""
    name = _ascii(f"{first}.{last}")[:40].strip(".-") or "reader"
    address = f"{name}.{number}@{chance.choice(_DOMAINS)}"
    points = str(chance.choice((0, chance.randrange(500), chance.randrange(2000))))
    plan = chance.choice(_PLANS)
    return (address, f"p-{number:05}", first, last, place.locale, zone, "yes", plan, city, points)


def _ascii(text: str) -> str:
    """What of a name may stand before the @ without ado."""
    plain = unicodedata.normalize("NFKD", text.lower())
    kept = "".join(
        letter for letter in plain if (letter.isascii() and letter.isalnum()) or letter in ".-"
    )
    return ".".join(piece for piece in kept.split(".") if piece)


def _with(row: Row, column: str, value: str) -> Row:
    changed = list(row)
    changed[HEADER.index(column)] = value
    return tuple(changed)


def _write(path: Path, header: Row, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path(__file__).parent)
