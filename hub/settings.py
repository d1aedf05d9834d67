"""Settings: environment (or the file that HUB_ENV_FILE names) in, typed values out. A wrong one stops the hub and is named.

The names, their defaults and what they mean: `.env.example`. The environment wins over the file. An empty value is no value.
"""

import os
import tempfile
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from re import fullmatch
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from readings.errors import Stop

Role = Literal["api", "bridge", "follower", "poller", "worker"]
ROLES: tuple[Role, ...] = get_args(Role)
LogLevel = Literal["debug", "info", "warning", "error"]
Names = Annotated[tuple[str, ...], NoDecode]
Rate = Annotated[tuple[int, int] | None, NoDecode]
"""So many in so many seconds; None for as many as come."""
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_LATER = ("KAFKA_BROKERS", "INFLUX_URL", "INFLUX_TOKEN", "INFLUX_ORG", "INFLUX_BUCKET")


class Settings(BaseSettings):
    """What `load` found. Times are seconds; addresses are (host, port); lists are tuples."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=False)

    data_dir: Path = Path("data")
    broker_dir: Path | None = None
    http_bind: Annotated[tuple[str, int], NoDecode] = ("127.0.0.1", 8000)
    metrics_bind: Annotated[tuple[str, int], NoDecode] = ("127.0.0.1", 9000)
    public_url: str | None = None
    cors_origins: Names = ()
    trusted_proxies: Names = ()
    rate_limit_address: Rate = (3000, 60)
    rate_limit_key: Rate = (600, 60)
    access_log: bool = True
    mqtt_url: str = "mqtt://127.0.0.1:1883"
    mqtt_password_file: Path | None = None
    database_url: str = ""
    kafka_brokers: str = ""
    follower_log: Literal["table"] = "table"
    influx_url: str = ""
    influx_token: str = ""
    influx_org: str = ""
    influx_bucket: str = ""
    redis_url: str = ""
    hub_roles: Annotated[tuple[Role, ...], NoDecode] = ROLES
    smtp_url: str = ""
    smtp_password_file: Path | None = None
    mail_from: str | None = None
    registration: Literal["open", "closed"] = "open"
    backup_max_age: int = 7 * 86400
    log_level: LogLevel = "info"

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load` gathers the environment and the file by itself, so that it can name an unknown variable."""
        return (init_settings,)

    @property
    def broker(self) -> Path:
        """Where `harmattan-hub broker` wrote: BROKER_DIR, else DATA_DIR/broker."""
        return self.broker_dir or self.data_dir / "broker"

    @property
    def database(self) -> str:
        """DATABASE_URL, else the SQLite file in DATA_DIR."""
        return self.database_url or f"sqlite:///{self.data_dir / 'hub.db'}"

    @property
    def url(self) -> str:
        """Where people find this hub: PUBLIC_URL, else where it listens. Never from a request, whose Host anybody can write."""
        host, port = self.http_bind
        return self.public_url or f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104

    @field_validator("http_bind", "metrics_bind", mode="before")
    @classmethod
    def _address(cls, value: Any) -> Any:
        return read_address(value) if isinstance(value, str) else value

    @field_validator("cors_origins", "trusted_proxies", "hub_roles", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            url = _split(origin)
            if (
                url.scheme not in ("http", "https")
                or not url.hostname
                or origin != f"{url.scheme}://{url.netloc}"
                or url.username
            ):
                raise ValueError(f"'{origin}' is no origin; write https://map.example.org, without a path and never *")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"'{network}' is no address and no network; write 127.0.0.1 or 10.0.0.0/8") from error
        return value

    @field_validator("rate_limit_address", "rate_limit_key", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> Any:
        return read_rate(value) if isinstance(value, str) else value

    @field_validator("access_log", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        if isinstance(value, str) and value.lower() not in ("on", "off"):
            raise ValueError(f"'{value}' is neither on nor off")
        return value

    @field_validator("backup_max_age", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        return read_duration(value) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("mqtt_url")
    @classmethod
    def _mqtt(cls, value: str) -> str:
        url = _split(value)
        if url.scheme not in ("mqtt", "mqtts") or not url.hostname:
            raise ValueError(f"'{value}' is no broker's address; write mqtt://host:1883 or mqtts://user@host:8883")
        if url.password is not None:
            raise ValueError(
                "a password in the address would show in process lists; put it into the file MQTT_PASSWORD_FILE names"
            )
        return value

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        if value and (_split(value).scheme not in ("http", "https") or not _split(value).hostname):
            raise ValueError(f"'{value}' is no web address; write https://hub.example.org")
        return value.rstrip("/") if value else None

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        url = _split(value)
        path = url.path.strip("/")
        known = (
            url.hostname and (not path or path.isdecimal())
            if url.scheme in ("redis", "rediss")
            else url.scheme == "unix" and path
        )
        if value and not known:
            hint = "write redis://host:6379/0, rediss://user:password@host:6379/0 or unix:///run/redis/redis.sock"
            raise ValueError(f"'{_without_password(url)}' is no Redis; {hint}")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, value: str) -> str:
        url = _split(value)
        if value and (url.scheme not in ("smtp", "smtps") or not url.hostname):
            raise ValueError(f"'{value}' is no mail server; write smtp://user@host:587 or smtps://user@host:465")
        if url.password is not None:
            raise ValueError(
                "a password in the address would show in process lists; put it into the file SMTP_PASSWORD_FILE names"
            )
        return value

    @field_validator("mail_from")
    @classmethod
    def _sender(cls, value: str | None) -> str | None:
        if value and not fullmatch(r"[^@\s<>]+@[^@\s<>]+", value):
            raise ValueError(f"'{value}' is no address; write harmattan@example.org")
        return value or None

    @model_validator(mode="after")
    def _linked(self) -> Self:
        if self.smtp_url and not self.public_url:
            raise ValueError("letters have links, so the hub must know where people find it; set PUBLIC_URL")
        return self

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        url = _split(value)
        if url.scheme == "sqlite" and value.startswith("sqlite:///") and len(value) > len("sqlite:///"):
            return value
        if url.scheme in ("postgresql", "postgres") and url.path.strip("/"):
            return value
        hint = "write postgresql://user@host:5432/database or sqlite:///path/hub.db"
        raise ValueError(f"'{_without_password(url)}' is no database of a kind the hub knows; {hint}")


def read_address(text: str) -> tuple[str, int]:
    """`host:port` as (host, port); a bare port means loopback. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"'{text}' is no address; write host:port, for example 127.0.0.1:8000")
    return host.strip("[]") or "127.0.0.1", int(port)


def read_duration(text: str) -> int:
    """`7d`, `36h`, `10min`, `30s` as seconds. Raises ValueError."""
    found = fullmatch(r"(\d+)\s*(s|min|h|d)", text.strip())
    if not found:
        raise ValueError(f"'{text}' is no span of time; write a number and its unit: s, min, h or d, for example 7d")
    return int(found[1]) * _SECONDS[found[2]]


def read_rate(text: str) -> tuple[int, int] | None:
    """`600/min` as (600, 60), `off` as None. Raises ValueError."""
    if text.strip().lower() == "off":
        return None
    found = fullmatch(r"([1-9]\d{0,8})\s*/\s*(s|min|h|d)", text.strip())
    if not found:
        raise ValueError(f"'{text}' is no rate; write a number for a span of time, for example 600/min, or off")
    return int(found[1]), _SECONDS[found[2]]


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The hub's settings. Makes DATA_DIR. Raises Stop naming each wrong variable."""
    given = dict(os.environ if environment is None else environment)
    if path := given.get("HUB_ENV_FILE"):
        given = {**_env_file(Path(path)), **{name: value for name, value in given.items() if value}}
    _refuse(given)
    values = {name.lower(): value for name, value in given.items() if name.lower() in Settings.model_fields and value}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise Stop("; ".join(map(_line, error.errors())), what="settings", hint="see .env.example") from error
    _writable(settings.data_dir)
    return settings


def _env_file(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    if not path.is_file():
        raise Stop(f"there is no file {path}", what="HUB_ENV_FILE", hint="copy .env.example there, or unset HUB_ENV_FILE")
    found = {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}
    known = [name.upper() for name in Settings.model_fields]
    for name in found:
        if name not in known and name != "JWT_SECRET":
            near = get_close_matches(name, known, 1)
            raise Stop(
                f"{path} sets {name}, which the hub does not know", what=name, hint=f"write {near[0]}" if near else "remove it"
            )
    return found


def _refuse(given: Mapping[str, str]) -> None:
    if "JWT_SECRET" in given:
        raise Stop(
            "tokens are signed with Ed25519 key files, never with a shared secret",
            what="JWT_SECRET",
            hint="unset JWT_SECRET; the keys are made in DATA_DIR by themselves",
        )
    later = [name for name in _LATER if given.get(name)]
    if given.get("FOLLOWER_LOG") == "kafka":
        later.append("FOLLOWER_LOG=kafka")
    if later:
        raise Stop("not in this version", what=", ".join(later), hint="leave it empty")


def _line(error: Any) -> str:
    name = str(error["loc"][0]).upper() if error["loc"] else "SMTP_URL"  # the one rule about two settings
    if error["type"] == "literal_error":
        return f"{name}: '{error['input']}' is not known; allowed: {error['ctx']['expected']}"
    return f"{name}: {str(error['msg']).removeprefix('Value error, ')}"


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = "make it a folder that the hub's user may write, or set DATA_DIR to another"
        raise Stop(f"{folder} cannot be written: {error.strerror}", what="DATA_DIR", hint=hint) from error


def _split(value: str) -> SplitResult:
    """As urlsplit, but a wrong port is a ValueError at once and not when it is asked for."""
    url = urlsplit(value)
    try:
        _ = url.port
    except ValueError as error:
        raise ValueError(f"the port is no number from 0 to 65535: {error}") from error
    return url


def _without_password(url: SplitResult) -> str:
    return url._replace(netloc=f"...@{url.hostname}").geturl() if url.password else url.geturl()
