"""Where a command gets secrets from: a file, standard input or a question; never its arguments,
which everybody on the machine can read."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from providers.catalog import credential_names
from settings import PREFIX

_SECRET_WORDS = ("key", "token", "secret", "url")
_QUOTES = "'\""
_SHORTEST_QUOTED = 2


class CredentialsNotRead(Exception):
    """What was given are no credentials; the message is one sentence without a value."""


def read_credentials(provider: str, env_file: Path | None) -> dict[str, str]:
    """The provider's credentials by name of setting: of lines NAME=VALUE in the file or on standard
    input, or asked for at a terminal. Raises CredentialsNotRead."""
    try:
        names = credential_names(provider)
    except ValueError as error:
        raise CredentialsNotRead(str(error)) from error
    if env_file is not None:
        return parse_credentials(_text_of(env_file), names)
    if sys.stdin.isatty():
        return {name: answer for name in names if (answer := _ask(name))}
    return parse_credentials(sys.stdin.read(), names)


def parse_credentials(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """Those of `names` that lines NAME=VALUE give; a name may be written as its variable.

    Empty lines and comments are passed over, quotes around a value are taken off; other variables of
    ours may be there, as in an .env. Raises CredentialsNotRead.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (stripped := line.strip()) or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals:
            raise CredentialsNotRead(f"Line {number} of the credentials is not NAME=VALUE.")
        field = name.strip().removeprefix("export ").strip().lower()
        field = field.removeprefix(PREFIX.lower())
        if field in names:
            found[field] = _unquoted(value.strip())
    if not found:
        raise CredentialsNotRead(f"No credentials were given: lines of {', '.join(names)}.")
    return found


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CredentialsNotRead(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CredentialsNotRead(f"{path} is not UTF-8 text.") from error


def _ask(name: str) -> str:
    if any(word in name for word in _SECRET_WORDS):
        return getpass.getpass(f"{name} (not shown): ").strip()
    sys.stderr.write(f"{name}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _unquoted(value: str) -> str:
    if len(value) >= _SHORTEST_QUOTED and value[0] in _QUOTES and value[-1] == value[0]:
        return value[1:-1]
    return value
