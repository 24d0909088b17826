"""The service's settings. Only here does metseg read the environment: METSEG_DATA_DIR, METSEG_PORT and so on."""

import os
import socket
from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator

from metseg.core.errors import ConfigError
from metseg.core.options import Options
from metseg.engines.registry import DEFAULT_ENGINE
from metseg.io.limits import GIB, KIB

PREFIX: Final = "METSEG_"
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(gt=0)]


class Settings(Options):
    """How the service runs; each field is an environment variable of the same name, in capitals, after ``METSEG_``.

    Args:
        data_dir: where studies, results and the database lie.
        database_url: ``postgresql://…`` for PostgreSQL; empty for SQLite below ``data_dir``.
        host: address to listen at.
        port: of the API.
        auth: ``keys`` wants an API key with each request; ``none`` serves this machine only.
        public_url: where browsers reach the API, in front of signed links; empty for links without a host.
        app_origins: web pages that may read signed links from a browser, separated by commas.
        allowed_hosts: names under which the API may be asked without keys, separated by commas, beside this machine's.
        engine: what runs the models.
        device: where it runs.
        threads: processor threads; 0 for all.
        models_dir: a folder of bundles that may be chosen by name beside those that ship.
        start_worker: whether the API starts a worker of its own.
        worker_id: name of the worker, unique and the same after a restart; empty for the host's name.
        runners: studies at the same time on this worker.
        job_seconds: longest time for one study.
        job_memory_bytes: most memory for one study.
        upload_bytes: largest upload.
        upload_files: most files of one upload.
        upload_stall_seconds: longest silence within an upload.
        upload_bytes_per_second: slowest mean rate of an upload, looked at after the first minute.
        queue_limit: most studies that wait or run; more are refused for now.
        rate_per_minute: most requests of one caller a minute.
        free_bytes: room on the disk that uploads must leave.
        link_seconds: how long a signed link works.
        retention_days: finished studies are erased after so many days; 0 keeps them.
    """

    data_dir: Path = Path("metseg-data")
    database_url: str = ""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    auth: Literal["none", "keys"] = "none"
    public_url: str = ""
    app_origins: tuple[str, ...] = ("http://localhost:8501", "http://127.0.0.1:8501")
    allowed_hosts: tuple[str, ...] = ()
    engine: Annotated[str, Field(min_length=1)] = DEFAULT_ENGINE
    device: Annotated[str, Field(min_length=1)] = "cpu"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    models_dir: Path | None = None
    start_worker: bool = True
    worker_id: str = ""
    runners: Annotated[int, Field(ge=1, le=64)] = 1
    job_seconds: Positive = 3600.0
    job_memory_bytes: Bytes = 16 * GIB
    upload_bytes: Bytes = 4 * GIB
    upload_files: Annotated[int, Field(gt=0)] = 20_000
    upload_stall_seconds: Positive = 30.0
    upload_bytes_per_second: Annotated[int, Field(ge=0)] = KIB
    queue_limit: Annotated[int, Field(gt=0)] = 200
    rate_per_minute: Annotated[int, Field(gt=0)] = 1200
    free_bytes: Annotated[int, Field(ge=0)] = GIB
    link_seconds: Positive = 900.0
    retention_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0

    @field_validator("app_origins", "allowed_hosts", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """``"a,b"`` becomes a list; a slash at the end of an origin does not count."""
        return (
            tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("models_dir", mode="before")
    @classmethod
    def _no_folder(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def url(self) -> str:
        """Of the API, as it is asked on this machine."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @cached_property
    def sqlalchemy_url(self) -> str:
        """Of the jobs' tables."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir.resolve() / 'metseg.sqlite'}"
        return "postgresql+psycopg://" + self.database_url.partition("://")[2]

    @cached_property
    def durable_url(self) -> str:
        """Of the tables of the engine for durable execution."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir.resolve() / 'dbos.sqlite'}"
        return self.sqlalchemy_url

    @cached_property
    def worker_name(self) -> str:
        """The worker's name."""
        return self.worker_id or socket.gethostname() or "worker"


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """The settings: defaults < environment < ``given``. Empty variables count as not set.

    Raises:
        ConfigError: a value that is wrong, or an address beyond this machine without keys.
    """
    names = Settings.model_fields
    found = {name: os.environ[PREFIX + name.upper()] for name in names if os.environ.get(PREFIX + name.upper())}
    try:
        settings = Settings.model_validate({**found, **(given or {})})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        raise ConfigError(
            f"The setting {PREFIX}{name.upper()} is wrong: {first['msg']}.", hint="docs/reference/service.md lists all."
        ) from error
    _check(settings)
    return settings


def child_environment(settings: Settings, **more: object) -> dict[str, str]:
    """The environment of a process that shall run with ``settings``, changed by ``more``."""
    values = {**settings.model_dump(), **more}
    plain = {PREFIX + name.upper(): _text(value) for name, value in values.items()}
    return {**os.environ, **plain}


def is_loopback(host: str) -> bool:
    """Does an address or name mean this machine and nothing else?

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("::1")
    (True, True, False, True)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check(settings: Settings) -> None:
    if settings.auth == "none" and not is_loopback(settings.host):
        raise ConfigError(
            f"Without authentication the service listens on this machine only, not at {settings.host}.",
            hint="Set METSEG_AUTH=keys and make a key with: metseg serve keys add NAME",
        )
    if settings.database_url and not settings.database_url.startswith(("postgresql://", "postgres://")):
        raise ConfigError("METSEG_DATABASE_URL must begin with postgresql://.", hint="Leave it empty for SQLite.")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
