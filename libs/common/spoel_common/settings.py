"""Settings of a service: environment variables that start with ``SPOEL_``, secrets in files.

A secret never stands in the environment or in an argument: a setting that ends in ``_file`` names the file that
holds it. Variables that no service knows are ignored, so that all processes can share one environment.
"""

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, NoReturn, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from spoel_common.clock import ScaledClock

ENV_PREFIX = "SPOEL_"
CONFIGURATION_EXIT_STATUS = 2

_LAST_PORT = 65_535


class CannotStart(Exception):
    """The service cannot start as it is configured; the text names the setting and says what to do."""


def _is_address(text: str) -> str:
    ip_address(text)
    return text


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
"""Name of a site or store: it becomes part of NATS subjects and of the events' ``source``."""

BindAddress = Annotated[str, AfterValidator(_is_address)]


class ProcessSettings(BaseSettings):
    """What every process that serves HTTP reads at start.

    Attributes:
        bind: address to listen at.
        port: TCP port to listen at; 0 for any free one.
        data_dir: directory for files of this process's own (cached keys, journal).
        clinical: True where people are treated: real time, real devices, no development identity provider.
        log_level: lowest level that is logged.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="ignore", frozen=True, env_ignore_empty=True, validate_default=True
    )

    bind: BindAddress = "127.0.0.1"
    port: int
    data_dir: Path = Path(".spoel")
    clinical: bool = False
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @field_validator("port")
    @classmethod
    def _port_exists(cls, value: int) -> int:
        if not 0 <= value <= _LAST_PORT:
            raise ValueError(f"{value} is not a TCP port; give 0 to {_LAST_PORT}")
        return value


class Settings(ProcessSettings):
    """What every service reads at start. A service subclasses it and gives ``service``, ``port`` and its own fields.

    Attributes:
        site: name of the clinic or hospital site.
        service: name of the service; the audience that a token must name.
        store: name of this event database within the service.
        database_url: ``sqlite:///path`` or ``postgresql://user@host/name``.
        database_password_file: file with the database password, where the URL has none.
        nats_url: NATS servers, comma-separated; an empty tuple, possible in code only, leaves NATS out (tests).
        nats_monitor_url: monitoring address of the NATS server, at which its durability is checked.
        nats_nkey_file: file with the NKey seed of this service's NATS user.
        nats_inbox_prefix: prefix of reply subjects; ``_INBOX_<service>`` if empty, each user being let at its own only.
        unchecked_durability_reason: why the service may be ready though NATS's durability is weaker or unchecked.
        stream_replicas: copies of each JetStream stream: 1 on one machine, 3 in a cluster.
        issuer: URL of the OpenID Connect issuer, exactly as its tokens name it.
        jwks_url: where the issuer's public keys are; found by OpenID Connect discovery if absent.
        jwks_cache_file: where the keys are kept for when the issuer is away; in ``data_dir`` if absent.
        audience: what ``aud`` of a token must name; the service's name if absent.
        clock: the shared clock as JSON; real time if absent.
        kek_file: file with the key-encryption key (intake only).
        otlp_endpoint: base address of a collector of traces that speaks OTLP over HTTP; no traces are made if absent.
        stop_timeout_s: how long a stop may take before tasks are cut off.
    """

    site: Name = "local"
    service: Name
    store: Name = "main"
    database_url: str
    database_password_file: Path | None = None
    nats_url: Annotated[tuple[str, ...], NoDecode] = ("nats://127.0.0.1:14222",)
    nats_monitor_url: str | None = None
    nats_nkey_file: Path | None = None
    nats_inbox_prefix: str = ""
    unchecked_durability_reason: str | None = None
    stream_replicas: int = Field(default=1, ge=1, le=5)
    issuer: str = "http://127.0.0.1:8100"
    jwks_url: str | None = None
    jwks_cache_file: Path | None = None
    audience: str = ""
    clock: ScaledClock | None = None
    kek_file: Path | None = None
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^/?#@\s]+/?$")
    stop_timeout_s: float = Field(default=5.0, gt=0, le=60)

    @field_validator("nats_url", mode="before")
    @classmethod
    def _split_servers(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _real_time_where_people_are_treated(self) -> Self:
        if self.clinical and self.clock is not None and self.clock.speed != 1:
            raise ValueError(
                f"SPOEL_CLOCK has speed {self.clock.speed:g}, and SPOEL_CLINICAL is true: a site that treats people "
                "runs in real time only. Unset SPOEL_CLOCK, or unset SPOEL_CLINICAL on a demonstration site"
            )
        return self

    @property
    def token_audience(self) -> str:
        """What ``aud`` of a token must name."""
        return self.audience or self.service

    @property
    def inbox_prefix(self) -> str:
        """Prefix of reply subjects at NATS."""
        return self.nats_inbox_prefix or f"_INBOX_{self.service}"

    @property
    def keys_cache_file(self) -> Path:
        """Where the issuer's public keys are kept on disk."""
        return self.jwks_cache_file or self.data_dir / f"{self.service}-{self.store}-jwks.json"

    def service_clock(self) -> ScaledClock:
        """Return the clock to run by: the shared one, or real time."""
        return self.clock or ScaledClock.starting_now(1.0)


P = TypeVar("P", bound=ProcessSettings)


def load_settings(kind: type[P]) -> P:
    """Read the settings of ``kind`` from the environment.

    Raises:
        CannotStart: a setting is missing or wrong; the text names every one of them.
    """
    try:
        return kind()  # the environment gives what has no default
    except SettingsError as error:
        raise CannotStart(f"The settings cannot be read: {error}. {_WHAT_TO_DO}") from error
    except ValidationError as error:
        lines = "\n".join(f"  {_name_of(kind, item['loc'])}: {_reason(item['msg'])}" for item in error.errors())
        raise CannotStart(f"These settings are missing or wrong:\n{lines}\n{_WHAT_TO_DO}") from error


def read_secret(path: Path, setting: str) -> str:
    """Return the text of a secret's file, without white space around it.

    Args:
        path: the file.
        setting: the setting that named it, for the message.

    Raises:
        CannotStart: the file cannot be read, is empty, or others than its owner and group may read it.
    """
    variable = f"{ENV_PREFIX}{setting.upper()}"
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(
            f"{variable} names {path}, which cannot be read ({type(error).__name__}). "
            "Make the secrets with 'spoel init', or correct the path."
        ) from error
    if mode & 0o007:
        raise CannotStart(f"{variable} names {path}, which others may read. Run: chmod 600 {path}")
    if not text:
        raise CannotStart(f"{variable} names {path}, which is empty. Make the secrets with 'spoel init'.")
    return text


def exit_with(error: CannotStart) -> NoReturn:
    """End the process with the exit status of a wrong configuration and the reason on standard error."""
    sys.stderr.write(f"{error}\n")
    raise SystemExit(CONFIGURATION_EXIT_STATUS) from None


_WHAT_TO_DO = "Set them in the environment and start again."


def _name_of(kind: type[ProcessSettings], loc: tuple[int | str, ...]) -> str:
    if not loc:
        return kind.__name__
    return ".".join([f"{ENV_PREFIX}{str(loc[0]).upper()}", *map(str, loc[1:])])


def _reason(message: str) -> str:
    return "is not set" if message == "Field required" else message.removeprefix("Value error, ")
