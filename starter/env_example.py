"""The text of .env.example, made from the settings so that it cannot say anything else."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from settings import PREFIX, Settings

_HEAD = """\
# Settings of Carillon: copy this to .env, take the # away where you change something.
# Made from settings.py by `carillon env-example`. Every variable may be given as NAME_FILE, too:
# the path of a file that holds the value.
"""


def env_example() -> str:
    """Each setting's meaning and default, as comments in the order of settings.py."""
    fields = Settings.model_fields.items()
    return "\n".join(
        [
            _HEAD,
            *(
                f"# {field.description}\n#{PREFIX}{name.upper()}={_shown(field.default)}\n"
                for name, field in fields
            ),
        ]
    )


def _shown(default: object) -> str:
    match default:
        case SecretStr():
            return default.get_secret_value()
        case Path():
            return default.as_posix()
        case _:
            return str(default)
