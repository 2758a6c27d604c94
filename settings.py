"""Every setting of Carillon, read once by composition roots and passed down as values.

Each field is the environment variable CARILLON_<NAME>; a `<NAME>_FILE` variant names a file that
holds the value (Docker secrets). Flag > environment > .env > default. `.env.example` is generated
from this file and a test keeps the two equal.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "CARILLON_"

_LIBPQ = {
    "database_sslmode": "sslmode",
    "database_root_cert": "sslrootcert",
    "database_client_cert": "sslcert",
    "database_client_key": "sslkey",
}
"""Settings that are options of libpq, in a URL's query."""

Seconds = Annotated[float, Field(gt=0)]


class SettingsError(Exception):
    """A setting is missing or wrong; the message names its variable."""


class Settings(BaseSettings):
    """Frozen; build it with `load()`, which turns mistakes into one sentence."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", frozen=True, extra="ignore"
    )

    data_dir: Path = Field(
        Path(".carillon/data"), description="Where the development stack keeps everything."
    )
    cache_dir: Path = Field(
        Path("~/.cache/carillon"), description="Where slow builds (the Temporal CLI) are kept."
    )

    mode: Literal["development", "production"] = Field(
        "development",
        description="development or production, which refuses to start with what is for development.",
    )

    database_sslmode: Literal[
        "", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"
    ] = Field("", description="TLS to PostgreSQL, in libpq's words; what the URL says goes first.")
    database_root_cert: str = Field(
        "", description="File with the authorities that sign PostgreSQL's certificate, or `system`."
    )
    database_client_cert: str = Field(
        "", description="File with our certificate for PostgreSQL, where it asks for one."
    )
    database_client_key: str = Field("", description="File with that certificate's private key.")
    database_url: str = Field(
        "", description="PostgreSQL URL. Empty: the embedded server of `carillon up`."
    )
    temporal_address: str = Field(
        "", description="host:port of Temporal. Empty: the dev server of `carillon up`."
    )
    temporal_namespace: str = Field("default", description="Temporal namespace.")
    temporal_tls: bool = Field(
        False, description="TLS to Temporal; also switched on by each of the five below."
    )
    temporal_ca: str = Field(
        "", description="File with the authorities that sign Temporal's certificate."
    )
    temporal_client_cert: str = Field("", description="File with our certificate for Temporal.")
    temporal_client_key: str = Field("", description="File with that certificate's private key.")
    temporal_server_name: str = Field(
        "", description="Name that Temporal's certificate must have, where it is not the address's."
    )
    temporal_api_key: SecretStr = Field(
        SecretStr(""), description="API key of the namespace, as Temporal Cloud gives them."
    )
    temporal_cli: str = Field("", description="Path of a `temporal` binary to use instead of ours.")
    temporal_ui_url: str = Field("", description="Where operators find the Temporal UI.")

    postgres_port: int = Field(5442, description="Port of the embedded PostgreSQL.")
    temporal_port: int = Field(7243, description="Port of the embedded Temporal server.")
    temporal_ui_port: int = Field(8243, description="Port of the embedded Temporal UI.")
    web_port: int = Field(8600, description="Port of the public pages.")
    web_host: str = Field("127.0.0.1", description="Address the public pages listen on.")
    behind_proxy: bool = Field(
        False,
        description="Only a proxy with TLS reaches the pages, so production may listen on 0.0.0.0.",
    )
    simulator_port: int = Field(
        8610, description="Port of the simulator's inbox and control pages."
    )
    simulator_sendgrid_port: int = Field(8611, description="Port of the simulator's SendGrid API.")
    simulator_smtp_port: int = Field(8612, description="Port of the simulator's SMTP server.")
    simulator_twilio_port: int = Field(8613, description="Port of the simulator's Twilio API.")
    simulator_webhook_port: int = Field(
        8614, description="Port of the simulator's receiver of webhooks."
    )
    simulator_host: str = Field("127.0.0.1", description="Address the simulator listens on.")

    public_url: str = Field(
        "",
        description="https URL of the public pages, as recipients reach them. Needed for real marketing.",
    )
    link_secret: SecretStr = Field(
        SecretStr("development-only"),
        description="Signs unsubscribe links and keys suppressions of erased people; keep it for years.",
    )
    api_secret: SecretStr = Field(
        SecretStr("development-only"),
        description="Keys the hashes of API keys and signs cursors; changing it ends all API keys.",
    )
    api_processes: int = Field(1, ge=1, le=64, description="Processes of `carillon api`.")
    api_connections: int = Field(
        16, ge=2, le=200, description="Requests, and database connections, at once in one of them."
    )
    api_rate_per_key: float = Field(
        200, gt=0, description="Requests a second of one API key; twice as many at once."
    )
    api_rate_per_team: float = Field(
        1000, gt=0, description="Requests a second of a team's API keys together."
    )
    default_from: str = Field(
        "", description='Sender where a template names none: "Name <a@b.org>".'
    )

    credential_keys: SecretStr = Field(
        SecretStr(""),
        description="Encrypt the credentials that `carillon accounts add` stores: ID:KEY with commas "
        "between, the first is the current one. A key: `openssl rand -base64 32`.",
    )
    sendgrid_api_key: SecretStr = Field(
        SecretStr(""), description="Makes the real account `sendgrid`."
    )
    sendgrid_region: str = Field("global", description="SendGrid region: global or eu.")
    sendgrid_rate: float = Field(
        0, ge=0, description="Messages a second on `sendgrid`; 0: no limit of ours."
    )
    smtp_url: SecretStr = Field(
        SecretStr(""),
        description="Makes the real account `smtp`: smtp[s]://user:pass@host:port?starttls=1",
    )
    smtp_rate: float = Field(
        0, ge=0, description="Messages a second on `smtp`; 0: no limit of ours."
    )
    twilio_account_sid: str = Field("", description="Makes the real account `twilio`, for SMS.")
    twilio_auth_token: SecretStr = Field(SecretStr(""), description="Auth token of `twilio`.")
    twilio_from: str = Field(
        "", description="What `twilio` sends from: a number, or a messaging service (MG…)."
    )
    twilio_rate: float = Field(
        0, ge=0, description="Segments a second on `twilio`; 0: no limit of ours."
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Makes the real account `webhook`; each endpoint's secret is derived from it. "
        "While it is changed: new and old one, with a space between them.",
    )
    log_provider: bool = Field(
        False,
        description="Makes the account `log`, which writes log lines and sends nothing; for development.",
    )
    simulator_sendgrid_url: str = Field(
        "",
        description="Makes the account `simulator`, which speaks SendGrid's API. Set by `carillon up`.",
    )
    simulator_smtp_url: str = Field(
        "", description="Makes the account `simulator-smtp`. Set by `carillon up`."
    )
    simulator_twilio_url: str = Field(
        "",
        description="Makes the account `simulator-sms`, which speaks Twilio's API. Set by `carillon up`.",
    )
    simulator_webhook_url: str = Field(
        "",
        description="Makes the account `simulator-webhook`, which may call this machine. An endpoint "
        "to try. Set by `carillon up`.",
    )
    messages_per_request: int = Field(
        1000, ge=1, le=1000, description="People in one request where a provider merges."
    )
    connections: int = Field(
        8, ge=1, le=64, description="Connections to a provider a sending thread."
    )

    worker_processes: int = Field(
        2, ge=1, description="Campaign worker processes of `carillon up`."
    )
    batches_per_process: int = Field(
        2, ge=1, description="Batches one campaign worker works at once."
    )
    batch_size: int = Field(
        5000, ge=1, le=10000, description="Most messages of one batch activity."
    )
    shard_size: int = Field(50000, ge=1, description="Most messages of one shard workflow.")

    lease: Seconds = Field(15, description="Seconds a batch stays its driver's without renewal.")
    lease_renewal: Seconds = Field(
        5, description="Seconds between renewals of lease and heartbeat."
    )
    heartbeat_timeout: Seconds = Field(
        30, description="Seconds until Temporal gives a silent batch to another worker."
    )
    no_progress: Seconds = Field(
        60, description="Seconds without progress of a flight after which its lease is not renewed."
    )
    call_within: Seconds = Field(
        2, description="Seconds from a claim within which its request must be written."
    )
    request_timeout: Seconds = Field(30, description="Seconds to wait for a provider's answer.")
    unknown_wait: Seconds = Field(
        900, description="Seconds to wait for proof before an unknown outcome is decided."
    )
    transactional_unknown_wait: Annotated[float, Field(ge=0)] = Field(
        60, description="The same for single messages; critical ones do not wait."
    )
    max_tries: int = Field(
        3, ge=1, description="Attempts without a certain answer before a message is unconfirmed."
    )
    settle_every: Seconds = Field(
        0.2, description="Seconds between settles of single requests under way."
    )
    resume_grid: Seconds = Field(300, description="Grid that deferrals are rounded up to.")
    backoff_first: Seconds = Field(2, description="First wait after a provider was unavailable.")
    backoff_most: Seconds = Field(300, description="Longest wait between rounds.")
    health_minute: Seconds = Field(
        60, description="Seconds of a minute in the rules of accounts' health; tests take less."
    )
    slow_after: Seconds = Field(
        5, description="Seconds from which an answer of a provider counts as slow."
    )
    campaign_nice: int = Field(
        5, ge=0, le=19, description="How far campaign workers stand back for single messages' CPU."
    )
    look_every: Seconds = Field(
        300, description="Seconds after which a waiting campaign looks at its rows again."
    )
    reconcile_every: Seconds = Field(10, description="Seconds between passes of the reconciler.")
    reconcile_send_every: Seconds = Field(
        30, description="Seconds between starts of one campaign by the reconciler."
    )
    fold_every: Seconds = Field(
        1, description="Seconds between looks for events that came before their message's row."
    )
    look_up_every: Seconds = Field(
        10, description="Seconds between look-ups of lost answers in vendors' lists."
    )
    webhooks_every: Seconds = Field(
        2, description="Seconds between looks for events that are owed to webhook endpoints."
    )
    webhook_gives_up_after: Seconds = Field(
        3 * 86400,
        description="Seconds for which a webhook endpoint may fail before it is disabled.",
    )
    webhook_kept: Seconds = Field(
        7 * 86400,
        description="Seconds for which delivered events of webhooks are kept for their lists.",
    )
    trip_wire_hard_bounces: float = Field(
        0.05, ge=0, lt=1, description="Share of hard bounces from which a send is held; 0: never."
    )
    trip_wire_complaints: float = Field(
        0.003, ge=0, lt=1, description="Share of complaints from which a send is held; 0: never."
    )
    trip_wire_errors: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of rejected messages from which a send is held; 0: never.",
    )
    trip_wire_first: int = Field(
        1000, ge=1, description="First messages of a send that trip wires look at."
    )
    trip_wire_window: Seconds = Field(
        3600, description="Seconds back that trip wires look at, beside the first messages."
    )
    trip_wire_least: int = Field(
        100, ge=1, description="Messages below which a share trips no wire."
    )
    transactional_processes: int = Field(
        1, ge=1, description="Worker processes for single messages of `carillon up`."
    )
    groups_per_process: int = Field(
        4, ge=1, description="Groups of single messages one worker process drives at once."
    )
    lanes: int = Field(2, ge=1, description="Gatherers of single messages in one worker process.")
    lane_pause: float = Field(
        0.05, ge=0, description="Seconds a busy lane waits, so that more messages share a workflow."
    )
    sweep_every: Seconds = Field(
        2, description="Seconds between looks for single messages that nobody announced."
    )
    request_expires_after: Seconds = Field(
        86400, description="Seconds after its request in which a single message may be sent."
    )
    local_grace: Seconds = Field(
        86400,
        description="Seconds after a recipient's local time in which a send by local time may still begin.",
    )
    digest_time: str = Field(
        "08:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="Time on each person's clock at which the digest of an ended day or week goes.",
    )
    campaign_expires_after: Seconds = Field(
        7 * 86400, description="Seconds after its start in which a campaign may send."
    )

    log_level: str = Field("INFO", description="Level of the structured logs.")
    log_format: Literal["auto", "json", "readable"] = Field(
        "auto", description="json or readable; auto: readable at a terminal, JSON everywhere else."
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of /metrics, /livez and /readyz of a process; further processes that are "
        "started with it take the next ones. 0: none.",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address that the ports of metrics listen on."
    )
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="Bearer token that shows /metrics on the port of the web pages, too. Empty: not there.",
    )
    otlp_endpoint: str = Field(
        "",
        description="OTLP/HTTP collector for traces, such as http://127.0.0.1:4318. Empty: the "
        "standard's OTEL_EXPORTER_OTLP_ENDPOINT; without both nothing is traced.",
    )

    @field_validator("data_dir", "cache_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _psycopg2(cls, url: str, info: ValidationInfo) -> str:
        """SQLAlchemy 2.1 takes a plain postgresql:// for psycopg 3: name our driver.

        TLS goes into the URL, so that whoever connects has it; a Unix socket has none.
        """
        for plain in ("postgres://", "postgresql://"):
            url = (
                "postgresql+psycopg2://" + url.removeprefix(plain) if url.startswith(plain) else url
            )
        if url and not url.startswith("postgresql+psycopg2://"):
            raise ValueError("must start with postgresql://")
        said = {name for name, _ in parse_qsl(urlsplit(url).query)}
        added = urlencode(
            {
                option: info.data[name]
                for name, option in _LIBPQ.items()
                if url and info.data.get(name) and option not in said
            }
        )
        return url + ("&" if "?" in url else "?") * bool(added) + added

    def seconds(self, name: str) -> timedelta:
        """The setting `name`, given in seconds, as a duration."""
        return timedelta(seconds=float(getattr(self, name)))


def uses_temporal_tls(settings: Settings) -> bool:
    """Whether the connection to Temporal is made with TLS: asked for, or needed by what is given."""
    return bool(
        settings.temporal_tls
        or settings.temporal_ca
        or settings.temporal_client_cert
        or settings.temporal_server_name
        or settings.temporal_api_key.get_secret_value()
    )


def load(**given: Any) -> Settings:
    """Settings from arguments, environment and .env. Raises SettingsError naming each bad variable."""
    try:
        return Settings(**{**_from_files(), **given})
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise SettingsError(problems) from error


def _from_files() -> dict[str, str]:
    """Values of CARILLON_<NAME>_FILE variables, by field name; the plain variable wins."""
    found = {}
    for name in Settings.model_fields:
        path = os.environ.get(f"{PREFIX}{name.upper()}_FILE")
        if path and f"{PREFIX}{name.upper()}" not in os.environ:
            try:
                found[name] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsError(
                    f"{PREFIX}{name.upper()}_FILE: cannot read {path}: {error.strerror}"
                ) from error
    return found
