"""The OpenAPI document, from the application alone: no database is asked.

`python -m web.api.openapi` writes docs/openapi.json anew; a test keeps the two equal.
"""

from __future__ import annotations

from pathlib import Path

import orjson
from sqlalchemy import create_engine

from settings import Settings
from web.api.app import create_api
from web.api.desk import Desk

CHECKED_IN = Path(__file__).parents[2] / "docs" / "openapi.json"


def document() -> str:
    """The document as it is checked in."""
    nowhere = create_engine("postgresql+psycopg2://")
    made = create_api(Desk(nowhere, Settings(_env_file=None))).openapi()
    return orjson.dumps(made, option=orjson.OPT_INDENT_2).decode() + "\n"


if __name__ == "__main__":
    CHECKED_IN.write_text(document(), encoding="utf-8")
