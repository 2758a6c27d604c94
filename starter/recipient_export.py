"""`recipients export`: everything about a person as one JSON document, written as it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import orjson
from sqlalchemy import Engine

from models.export import export_parts

_OWNER_ONLY = 0o600


def export_pieces(engine: Engine, recipient_id: int) -> Iterator[bytes]:
    """Pieces that make one JSON object together: a list of rows for each part, a row a line."""
    with engine.connect() as connection:
        yield b"{"
        for number, (name, rows) in enumerate(export_parts(connection, recipient_id)):
            yield (b",\n" if number else b"\n") + orjson.dumps(name) + b": ["
            for place, row in enumerate(rows):
                yield (b",\n  " if place else b"\n  ") + orjson.dumps(row, default=str)
            yield b"]"
        yield b"\n}\n"


def export_to_file(engine: Engine, recipient_id: int, path: Path) -> int:
    """Size of the file in bytes; only its owner may read it. It appears when it is complete."""
    unfinished = path.with_name(path.name + ".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(export_pieces(engine, recipient_id))
    unfinished.replace(path)
    return path.stat().st_size
