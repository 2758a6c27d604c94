"""What every command needs: settings, the database, the provider accounts, Temporal.

All that is heavy is imported when it is asked for, because `carillon --help` imports this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from temporalio.client import Client

    from providers.catalog import AccountConfig
    from settings import Settings


T = TypeVar("T")


class NoDatabase(Exception):
    """Neither a database nor a running stack; the message says what to do."""


def settings() -> Settings:
    """The settings; addresses that the environment does not name are the running stack's.

    Raises SettingsError.
    """
    import settings as settings_module
    from settings import PREFIX, Settings
    from stack.running import read_running_stack

    given = settings_module.load()
    running = read_running_stack(given.data_dir) or {}
    return settings_module.load(
        **{
            name: value
            for variable, value in running.items()
            if (name := variable.removeprefix(PREFIX).lower()) in Settings.model_fields
            and not _is_named(given, name)
        }
    )


def _is_named(given: Settings, name: str) -> bool:
    """Whether the environment says something about the field; an empty value says nothing."""
    return name in given.model_fields_set and str(getattr(given, name)) != ""


def engine(given: Settings | None = None) -> Engine:
    """An engine on the database, which answers and has the schema of this version.

    Raises NoDatabase, DatabaseUnreachable, SchemaNotAtHead.
    """
    from models.schema import require_head

    made = reach_database(given)
    require_head(made)
    return made


def write(work: Callable[[Connection, int], T]) -> T:
    """What `work` returns, given a transaction and the team `default`; committed."""
    from models.database import in_transaction
    from models.team import default_team_id

    return in_transaction(
        engine(), lambda connection: work(connection, default_team_id(connection))
    )


def reach_database(given: Settings | None = None) -> Engine:
    """An engine on the database, whatever its schema. Raises NoDatabase, DatabaseUnreachable."""
    from domain.address_key import address_key
    from models.database import connect, reach

    known = given or settings()
    url = known.database_url
    if not url:
        raise NoDatabase(
            "Carillon has no database here: start the development stack with `carillon up`,"
            " or set CARILLON_DATABASE_URL."
        )
    made = connect(
        url,
        application_name="carillon-cli",
        address_key=address_key(known.link_secret.get_secret_value().encode()),
    )
    reach(made)
    return made


def accounts(settings: Settings) -> list[AccountConfig]:
    """The provider accounts that the settings name. Raises SettingsError when one cannot work."""
    from settings import SettingsError
    from starter.accounts import accounts_of

    try:
        return accounts_of(settings)
    except ValueError as error:
        raise SettingsError(f"The settings of a provider account are wrong: {error}") from error


def keep_accounts(engine: Engine, settings: Settings) -> None:
    """Make or renew the rows of the accounts that the settings name. Raises SettingsError."""
    from starter.accounts import keep_accounts as keep

    accounts(settings)
    with engine.begin() as connection:
        keep(connection, settings)


async def temporal(settings: Settings) -> Client:
    """A client of Temporal. Raises TemporalUnreachable within five seconds."""
    from starter.client import connect

    return await connect(settings)
