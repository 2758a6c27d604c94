"""The development stack: PostgreSQL, Temporal, simulator, migrations, workers and web, supervised."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType

from settings import Settings
from stack import addresses, parts, postgres, temporal_server
from stack.addresses import EVERY_PART, Part
from stack.child import Service
from stack.ports import Port, check_ports
from stack.running import write_running_stack
from stack.supervisor import Supervisor, say_to_log
from stack.temporal_cli import temporal_binary


class DevelopmentStack:
    """The parts of Carillon on this machine. At a terminal `run()`; in tests a `with` block."""

    def __init__(  # noqa: PLR0913 - keywords, each with the default that a person wants
        self,
        settings: Settings,
        *,
        parts: Collection[str] = EVERY_PART,
        free_ports: bool = False,
        isolated: bool = False,
        faults: Path | None = None,
        search_attributes: Sequence[str] = (),
        say: Callable[[str], None] = say_to_log,
    ) -> None:
        """Nothing is started or written yet.

        `parts` are names of `Part`; one that the settings replace by a real address is left out.
        `isolated` ignores what the environment says of providers, database and Temporal, and takes
        free ports. `search_attributes` are registered in Temporal as Keyword. `say` gets sentences
        for the person who watches. Raises StackError where the PostgreSQL wheel is missing.
        """
        if isolated:
            settings = addresses.without_outside(settings)
        if free_ports or isolated:
            settings = addresses.with_free_ports(settings)
        self._isolated = isolated
        self._faults = faults
        self._search_attributes = tuple(search_attributes)
        self._say = say
        self.embedded = addresses.embedded_parts(settings, parts)
        self._cluster = (
            postgres.cluster_of(settings.data_dir, settings.postgres_port)
            if Part.POSTGRES in self.embedded
            else None
        )
        self._settings = addresses.with_addresses(
            settings, self.embedded, self._cluster.url if self._cluster else ""
        )
        self._temporal = Path()
        self.supervisor = Supervisor(settings.data_dir, self._services, say)

    def settings(self) -> Settings:
        """The settings with the addresses of this stack: what the CLI and tests connect by."""
        return self._settings

    def addresses(self) -> dict[str, str]:
        """The addresses as CARILLON_… variables, as written to run/stack.json."""
        return addresses.addresses_of(self._settings, self.embedded)

    def environment(self) -> dict[str, str]:
        """The environment that the parts are started with."""
        return addresses.environment_of(self._settings, isolated=self._isolated)

    def start(self) -> None:
        """Return when every part is ready. Raises StackError, with all stopped again, if one cannot."""
        self._get_temporal()
        self.supervisor.start()
        self._announce()

    def stop(self) -> None:
        """Stop every part, the last started first."""
        self.supervisor.stop()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start, call `on_ready`, stay until Ctrl-C or SIGTERM, stop."""
        self._get_temporal()

        def announce() -> None:
            self._announce()
            on_ready()

        self.supervisor.run(announce)

    def __enter__(self) -> DevelopmentStack:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _get_temporal(self) -> None:
        """Before the supervisor's signal handlers and thread: Ctrl-C ends a build that takes minutes."""
        if Part.TEMPORAL in self.embedded:
            self._temporal = temporal_binary(self._settings, self._say)

    def _announce(self) -> None:
        write_running_stack(self._settings.data_dir, self.addresses())

    def _metrics_ports(self) -> list[Port]:
        has_any = {Part.WORKERS, Part.WEB} & self.embedded
        return parts.metrics_ports(self._settings) if has_any else []

    def _services(self) -> list[Service]:
        """Asked once the data folder is ours, so a port held by our own leftover is free by now."""
        settings, environment = self._settings, self.environment()
        check_ports([*addresses.ports_of(settings, self.embedded), *self._metrics_ports()])
        services: list[Service] = []
        if self._cluster is not None:
            services.append(parts.postgres_service(settings.data_dir, self._cluster, self._say))
        if Part.TEMPORAL in self.embedded:
            services.append(
                temporal_server.temporal_service(settings, self._temporal, self._search_attributes)
            )
        if Part.SIMULATOR in self.embedded:
            services.append(parts.simulator_service(settings, environment, self._faults))
        if Part.MIGRATIONS in self.embedded:
            services.append(parts.migrations_service(settings, environment))
        if Part.WORKERS in self.embedded:
            services.extend(parts.worker_services(settings, environment))
        if Part.WEB in self.embedded:
            services.append(parts.web_service(settings, environment))
        return services
