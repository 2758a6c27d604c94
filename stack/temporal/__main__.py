"""`python -m stack.temporal`: have the Temporal program at hand, and say where it is.

`make test` calls it first: a build takes minutes, which people should see and pytest would hide.
"""

from __future__ import annotations

import sys

import settings as settings_module
from stack.errors import StackError
from stack.temporal_cli import temporal_binary


def main() -> int:
    """Find, download or build it; 0 if it is there."""

    def say(sentence: str) -> None:
        sys.stderr.write(sentence + "\n")

    try:
        say(f"Temporal: {temporal_binary(settings_module.load(), say)}")
    except StackError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
