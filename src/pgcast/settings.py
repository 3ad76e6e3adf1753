"""Every setting once: its variable, type, default and meaning.

Settings come from the environment, secrets also from files (`NAME_FILE`). The original server's variables keep their
names and meaning; what is ours begins with PGCAST_. Whatever is wrong with one is said in one line that names the
variable and what would be right.
"""

from __future__ import annotations

import ipaddress
import os
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, get_args
from urllib.parse import urlsplit

import orjson
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pgcast.auth.keys import read_key_set
from pgcast.environment import FILE_SUFFIX, Given, collect
from pgcast.model.errors import SettingsError
from pgcast.model.webhook import decode_secret, parse_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[a-z0-9_]{1,63}", re.ASCII)
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MIN_KEY_CHARS = 20

IGNORED: Final = {
    "REPLICATION_MODE": "changes always come from the replication stream",
    "REPLICATION_POLL_INTERVAL": "nothing is polled",
    "SUBSCRIPTION_SYNC_INTERVAL": "entries are in force at once",
    "MAX_CHANGES": "there is no limit to a batch",
    "DB_RETRY_INITIAL_DELAY": "DB_RECONNECT_BACKOFF_MIN says it",
    "DB_RETRY_MAXIMUM_DELAY": "DB_RECONNECT_BACKOFF_MAX says it",
    "DB_RETRY_JITTER": "there is always some",
    "SESSION_SECRET_KEY_BASE": "there are no cookies",
}
"""Variables of the original server that have no effect here, and why."""


class LegacyValues(Enum):
    """How the oldest protocol's values go out."""

    TYPED = "typed"
    TEXT = "text"


class ResumeBy(Enum):
    """What tells a returning client from a new one."""

    PARAMETER = "parameter"
    IDENTITY = "identity"


class IpVersion(Enum):
    """A family of addresses."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class LogLevel(Enum):
    """What is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(BaseSettings):
    """All settings; a field's alias is its variable."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, case_sensitive=True, env_ignore_empty=True, allow_inf_nan=False
    )

    database_url: SecretStr | None = Field(
        None, alias="DATABASE_URL", description="the database as a URL; wins over DB_HOST and its neighbours"
    )
    db_host: str = Field(
        "localhost", alias="DB_HOST", description="the database's host, or the folder of its unix socket"
    )
    db_port: int = Field(5432, alias="DB_PORT", ge=1, le=65535, description="the database's port")
    db_name: str = Field("postgres", alias="DB_NAME", description="the database's name")
    db_user: str = Field("postgres", alias="DB_USER", description="the role: needs LOGIN and REPLICATION")
    db_password: SecretStr = Field(SecretStr("postgres"), alias="DB_PASSWORD", description="the role's password")
    db_ssl: str = Field(
        "true",
        alias="DB_SSL",
        description="TLS to the database: true (if offered), false, require, verify-ca, verify-full",
    )
    db_ip_version: IpVersion | None = Field(
        None, alias="DB_IP_VERSION", description="IPv4 or IPv6: the only addresses of the database's host to try"
    )
    slot_name: str = Field("pgcast", alias="SLOT_NAME", description="the durable replication slot")
    temporary_slot: bool = Field(
        default=False,
        alias="TEMPORARY_SLOT",
        description="make the slot temporary: changes while pgcast is down are lost",
    )
    failover_slot: bool = Field(
        default=False, alias="PGCAST_FAILOVER_SLOT", description="make a slot that standbys keep a copy of (17+)"
    )
    publications: Annotated[tuple[str, ...], NoDecode] = Field(
        ("supabase_realtime",),
        alias="PUBLICATIONS",
        description="the publications to follow: a JSON array or a comma list",
    )
    db_reconnect_backoff_min: int = Field(
        500, alias="DB_RECONNECT_BACKOFF_MIN", ge=1, description="first wait before reconnecting, milliseconds"
    )
    db_reconnect_backoff_max: int = Field(
        15_000, alias="DB_RECONNECT_BACKOFF_MAX", ge=1, description="longest wait before reconnecting, milliseconds"
    )
    max_replication_lag_mb: int = Field(
        0, alias="MAX_REPLICATION_LAG_MB", ge=0, description="over it the window is given up; 0: no limit"
    )
    lag_warn_mb: int = Field(
        1024, alias="PGCAST_LAG_WARN_MB", ge=0, description="over it a warning is logged once a minute; 0: never"
    )
    drop_slot: bool = Field(
        default=False,
        alias="PGCAST_DROP_SLOT",
        description="over MAX_REPLICATION_LAG_MB, drop the slot and make it anew: changes are lost, clients are told",
    )
    port: int = Field(4000, alias="PORT", ge=0, le=65535, description="the HTTP and WebSocket port; 0 takes a free one")
    hostname: str = Field("localhost", alias="HOSTNAME", description="the host in the URLs that pgcast prints")
    bind: str | None = Field(
        None,
        alias="PGCAST_BIND",
        description="the address to listen on: loopback while nothing authenticates clients, else all",
    )
    realtime_ip_version: IpVersion = Field(
        IpVersion.IPV4,
        alias="REALTIME_IP_VERSION",
        description="where PGCAST_BIND is unset: IPv4, or IPv6 (beyond loopback IPv4 as well)",
    )
    tls_cert: Path | None = Field(
        None, alias="PGCAST_TLS_CERT", description="a PEM file: the server's certificate, then those that signed it"
    )
    tls_key: Path | None = Field(
        None, alias="PGCAST_TLS_KEY", description="a PEM file: the certificate's key, without a passphrase"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        alias="PGCAST_TRUSTED_PROXIES",
        description="addresses or networks, with commas, whose X-Forwarded-For and -Proto are believed",
    )
    jwt_secret: SecretStr | None = Field(
        None, alias="JWT_SECRET", description="verifies clients' tokens: HS256, 384, 512"
    )
    jwt_jwks: SecretStr | None = Field(
        None, alias="JWT_JWKS", description="keys that verify clients' tokens: a JSON Web Key Set, or its URL"
    )
    publishable_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        alias="PGCAST_PUBLISHABLE_KEYS",
        description="opaque keys (sb_publishable_...) of the role anon: a comma list",
    )
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), alias="PGCAST_SECRET_KEYS", description="opaque keys (sb_secret_...) of the role service_role: a comma list"
    )
    secure_channels: bool = Field(
        default=True, alias="SECURE_CHANNELS", description="false: accept clients without a token, on any address"
    )
    jwt_claim_validators: Annotated[dict[str, Any], NoDecode] = Field(
        default_factory=dict, alias="JWT_CLAIM_VALIDATORS", description="a JSON object of claims that tokens must have"
    )
    private_only: bool = Field(
        default=False, alias="PGCAST_PRIVATE_ONLY", description="true: refuse joins of channels that are not private"
    )
    max_connections: int = Field(
        16_384, alias="MAX_CONNECTIONS", ge=0, description="WebSocket connections; 0: no limit"
    )
    max_channels: int = Field(
        1000, alias="PGCAST_MAX_CHANNELS", ge=0, description="channels per connection; 0: no limit"
    )
    max_joins_per_s: int = Field(
        0, alias="PGCAST_MAX_JOINS_PER_S", ge=0, description="joins a second, all connections together; 0: no limit"
    )
    max_messages_per_s: float = Field(
        0,
        alias="PGCAST_MAX_MESSAGES_PER_S",
        ge=0,
        description="what one connection (over HTTP: one address) may send a second, on average; 0: no limit",
    )
    max_presence_per_s: float = Field(
        0,
        alias="PGCAST_MAX_PRESENCE_PER_S",
        ge=0,
        description="presence messages that one channel may send a second, on average; 0: no limit",
    )
    max_presence_calls: int = Field(
        0, alias="PGCAST_MAX_PRESENCE_CALLS", ge=0, description="those within 30 seconds; 0: no limit"
    )
    max_payload_kb: int = Field(
        3000,
        alias="PGCAST_MAX_PAYLOAD_KB",
        ge=0,
        description="the payload of one broadcast or presence (n * 1000 + 500 bytes pass); 0: no limit",
    )
    max_frame_bytes: int = Field(
        5_000_000, alias="PGCAST_MAX_FRAME_BYTES", ge=1024, description="the largest message a client may send"
    )
    max_record_bytes: int = Field(
        0,
        alias="MAX_RECORD_BYTES",
        ge=0,
        description="a larger change comes with its short values alone; 0: no limit",
    )
    idle_s: float = Field(
        60, alias="PGCAST_IDLE_S", ge=0, description="close clients that send nothing for so long; 0: never"
    )
    legacy_values: LegacyValues = Field(
        LegacyValues.TYPED, alias="PGCAST_LEGACY_VALUES", description="values for the oldest clients: typed or text"
    )
    expose_metrics: bool | None = Field(
        None, alias="EXPOSE_METRICS", description="serve /metrics; unset: only where loopback alone is listened on"
    )
    window_mb: int = Field(64, alias="PGCAST_WINDOW_MB", ge=1, description="recent changes kept for those who resume")
    window_s: float = Field(120, alias="PGCAST_WINDOW_S", gt=0, description="how long they are kept")
    ring_mb: int = Field(8, alias="PGCAST_RING_MB", ge=1, description="ready frames kept for one group's slow readers")
    rings_mb: int = Field(256, alias="PGCAST_RINGS_MB", ge=1, description="ready frames kept for all groups together")
    flush_ms: float = Field(5, alias="PGCAST_FLUSH_MS", ge=0, description="from one flush to the next, at most")
    hold_s: float = Field(
        30,
        alias="PGCAST_HOLD_S",
        ge=0,
        description="the longest pause of reading the WAL for one group of slow readers",
    )
    resume: ResumeBy = Field(
        ResumeBy.PARAMETER,
        alias="PGCAST_RESUME",
        description="tells a returning client: parameter (`resume` in the URL) or identity (also the token's `sub`)",
    )
    state_dir: Path | None = Field(
        None, alias="PGCAST_STATE_DIR", description="a folder in which acknowledged positions survive a restart"
    )
    messages_h: int = Field(
        72,
        alias="PGCAST_MESSAGES_H",
        ge=0,
        description="hours for which realtime.messages keeps what it stores; 0: leave its partitions alone",
    )
    configuration_file: Path | None = Field(
        None, alias="CONFIGURATION_FILE", description="a JSON file: webhooks, and which oldest topics are served"
    )
    webhook_headers: SecretStr | None = Field(
        None, alias="WEBHOOK_HEADERS", description="headers of webhook deliveries: k=v:k2=v2, or a JSON object"
    )
    webhook_secret: SecretStr | None = Field(
        None,
        alias="PGCAST_WEBHOOK_SECRET",
        description="signs webhook deliveries: whsec_..., several with commas between, the newest first",
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        alias="PGCAST_WEBHOOK_ALLOW",
        description="hosts and networks that webhooks may reach though they are not public: a comma list",
    )
    webhook_timeout_s: float = Field(
        15, alias="PGCAST_WEBHOOK_TIMEOUT_S", gt=0, le=600, description="how long one delivery attempt may take"
    )
    webhook_deadline_s: float = Field(
        86_400, alias="PGCAST_WEBHOOK_DEADLINE_S", ge=0, description="how long a delivery is tried, then set aside"
    )
    webhook_spool_mb: int = Field(
        1024, alias="PGCAST_WEBHOOK_SPOOL_MB", ge=1, description="what may wait for one endpoint, on disk"
    )
    webhook_max_kb: int = Field(
        256, alias="PGCAST_WEBHOOK_MAX_KB", ge=1, description="the longest body; a larger transaction becomes several"
    )
    log: LogLevel = Field(LogLevel.INFO, alias="PGCAST_LOG", description="debug, info, warning or error")

    @field_validator("db_ssl")
    @classmethod
    def _check_db_ssl(cls, text: str) -> str:
        modes = {"true": "prefer", "false": "disable"}
        mode = modes.get(text.lower(), text.lower())
        if mode not in {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}:
            raise ValueError("expected true, false, require, verify-ca or verify-full")
        return mode

    @field_validator("db_ip_version", "realtime_ip_version", mode="before")
    @classmethod
    def _read_ip_version(cls, value: object) -> object:
        for version in IpVersion:
            if isinstance(value, str) and value.lower() == version.value.lower():
                return version
        return value

    @field_validator("slot_name")
    @classmethod
    def _check_slot_name(cls, text: str) -> str:
        if not _NAME.fullmatch(text.lower()):
            raise ValueError("expected letters, digits and underscores, at most 63")
        return text.lower()

    @field_validator("publications", mode="before")
    @classmethod
    def _split_publications(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names: Any = [name.strip() for name in value.split(",")]
        if value.lstrip().startswith("["):
            try:
                names = orjson.loads(value)
            except orjson.JSONDecodeError:
                raise ValueError('expected a JSON array such as ["one","two"], or names with commas between') from None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError("expected at least one name, and no empty one")
        return tuple(names)

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        networks = tuple(part.strip() for part in value.split(",") if part.strip())
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"{error}; expected addresses or networks such as 10.0.0.0/8,::1") from None
        return networks

    @field_validator("jwt_claim_validators", mode="before")
    @classmethod
    def _parse_validators(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            claims = orjson.loads(value)
        except orjson.JSONDecodeError:
            claims = None
        if not isinstance(claims, dict):
            raise ValueError('expected a JSON object such as {"iss":"me"}')  # noqa: TRY004 - pydantic reports ValueError
        return claims

    @field_validator("jwt_jwks")
    @classmethod
    def _check_key_set(cls, value: SecretStr | None) -> SecretStr | None:
        text = "" if value is None else value.get_secret_value().strip()
        if text and not text.startswith("{") and urlsplit(text).scheme not in {"http", "https"}:
            raise ValueError('expected a key set such as {"keys":[...]}, or a URL that begins with https:// or http://')
        if text.startswith("{"):
            try:
                read_key_set(text)
            except SettingsError as error:
                raise ValueError(f"{error.message}; {error.hint}") from None
        return value

    @field_validator("publishable_keys", "secret_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = [key.strip() for key in value.split(",") if key.strip()]
        if not keys or not all(key.startswith("sb_") and len(key) >= _MIN_KEY_CHARS for key in keys):
            # Clients, and we, tell such keys from tokens by how they begin.
            raise ValueError(f"expected keys that begin with sb_ and have at least {_MIN_KEY_CHARS} characters")
        return tuple(SecretStr(key) for key in keys)

    @property
    def can_authenticate(self) -> bool:
        """Whether there is anything to verify a client by."""
        return bool(self.jwt_secret or self.jwt_jwks or self.publishable_keys or self.secret_keys)

    @field_validator("webhook_headers")
    @classmethod
    def _check_webhook_headers(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_headers(value.get_secret_value())
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        secrets = _split(value.get_secret_value()) if value is not None else ()
        if value is not None and not secrets:
            raise ValueError("expected at least one secret")
        for text in secrets:
            decode_secret(text)
        return value

    @field_validator("webhook_allow", mode="before")
    @classmethod
    def _split_webhook_allow(cls, value: object) -> object:
        return _split(value) if isinstance(value, str) else value

    @property
    def webhook_header_values(self) -> dict[str, str]:
        """WEBHOOK_HEADERS, taken apart."""
        return {} if self.webhook_headers is None else parse_headers(self.webhook_headers.get_secret_value())

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """PGCAST_WEBHOOK_SECRET, taken apart."""
        return () if self.webhook_secret is None else _split(self.webhook_secret.get_secret_value())

    @property
    def webhook_folder(self) -> Path:
        """Where the webhooks' spools are."""
        if self.state_dir is not None:
            return self.state_dir / "webhooks"
        try:
            states = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
        except RuntimeError:  # no home directory; whoever may not write there is told to set PGCAST_STATE_DIR
            states = Path("/var/lib")
        return states / "pgcast" / self.slot_name / "webhooks"

    @property
    def authenticates(self) -> bool:
        """Whether clients need a token or an opaque key."""
        return self.secure_channels and self.can_authenticate

    @property
    def max_payload_bytes(self) -> int:
        """What one broadcast or presence may take; 0 for no limit."""
        return self.max_payload_kb * 1000 + 500 if self.max_payload_kb else 0

    @model_validator(mode="after")
    def _check_slot(self) -> Self:
        if self.failover_slot and self.temporary_slot:
            raise ValueError("PGCAST_FAILOVER_SLOT: a temporary slot cannot be one; unset TEMPORARY_SLOT")
        return self

    @model_validator(mode="after")
    def _check_bind(self) -> Self:
        if self.bind is None or self.bind in _LOOPBACK or not self.secure_channels or self.can_authenticate:
            return self
        raise ValueError(
            f"PGCAST_BIND: on {self.bind} everybody could come in; set JWT_SECRET, JWT_JWKS or PGCAST_SECRET_KEYS, "
            "or say SECURE_CHANNELS=false"
        )

    @model_validator(mode="after")
    def _check_keys_differ(self) -> Self:
        if set(self.publishable_keys) & set(self.secret_keys):
            raise ValueError("PGCAST_SECRET_KEYS: a key of PGCAST_PUBLISHABLE_KEYS, which everybody has, is among them")
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("CERT", "KEY") if self.tls_key is None else ("KEY", "CERT")
            raise ValueError(f"PGCAST_TLS_{given} is set without PGCAST_TLS_{missing}; TLS needs both")
        return self

    @property
    def exposes_metrics(self) -> bool:
        """Whether `/metrics` is served: on loopback, unless something else was said."""
        return self.listens_on_loopback if self.expose_metrics is None else self.expose_metrics

    @property
    def listens_on_loopback(self) -> bool:
        """Whether only this machine can reach the port."""
        return self.listen_address in _LOOPBACK

    @property
    def listen_address(self) -> str:
        """The address to listen on: loopback while nothing authenticates clients, unless something else was said."""
        if self.bind is not None:
            return self.bind
        everywhere, loopback = ("0.0.0.0", "127.0.0.1") if self.realtime_ip_version is IpVersion.IPV4 else ("::", "::1")  # noqa: S104 - said so
        return everywhere if self.authenticates or not self.secure_channels else loopback


def is_secret(variable: str) -> bool:
    """Return whether a setting's value is never shown, and may stand in a file."""
    return variable in _SECRETS


def variables() -> frozenset[str]:
    """Return every variable that is read: the settings, and those that name a secret's file."""
    return _VARIABLES | {name + FILE_SUFFIX for name in _SECRETS}


def ignored_variables() -> list[str]:
    """Return what is set in the environment, has a meaning for the original server, and none here."""
    return [name for name in IGNORED if os.environ.get(name)]


def read_settings(options: Mapping[str, str] | None = None) -> Settings:
    """Read the environment.

    Args:
        options: Variables that win over the environment: what a command's options say.

    Raises:
        SettingsError: A setting is wrong; the message names the variable.
    """
    return make_settings(collect_settings(options))


def collect_settings(options: Mapping[str, str] | None = None) -> dict[str, Given]:
    """Find the settings that were given, and where each comes from, by variable.

    Args:
        options: As for `read_settings`.

    Raises:
        SettingsError: A variable that means nothing, or a secret's file that cannot be used.
    """
    return collect(_VARIABLES, _SECRETS, os.environ, options or {})


def make_settings(given: Mapping[str, Given]) -> Settings:
    """Check what was given, and make the settings of it and the defaults.

    Raises:
        SettingsError: A setting is wrong; the message names the variable.
    """
    try:
        chosen: dict[str, Any] = {name: one.value for name, one in given.items()}
        return Settings(**chosen)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:  # about several settings together; the message names them
            raise SettingsError(str(first["msg"]).removeprefix("Value error, ")) from None
        variable = str(first["loc"][0])
        found = "" if is_secret(variable) else f" (found {str(first['input'])[:80]!r})"
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise SettingsError(f"{variable}: {reason}{found}", hint=_meaning_of(variable)) from None


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _meaning_of(variable: str) -> str:
    for field in Settings.model_fields.values():
        if field.alias == variable:
            return f"{variable} is {field.description}"
    return ""


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))


_VARIABLES = frozenset(str(field.alias) for field in Settings.model_fields.values())
_SECRETS = frozenset(str(field.alias) for field in Settings.model_fields.values() if _holds_secret(field.annotation))
