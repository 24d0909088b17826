"""The tables of the service, and the engine that reaches them: SQLite or PostgreSQL."""

import time
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from metseg.service.settings import Settings

METADATA: Final = sa.MetaData()

JOBS: Final = sa.Table(
    "metseg_jobs",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("owner", sa.String(80), nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("stage", sa.String(200), nullable=False, default=""),
    sa.Column("progress", sa.Float, nullable=False, default=0.0),
    sa.Column("created", sa.Float, nullable=False),  # seconds since 1970, as all times here
    sa.Column("started", sa.Float),
    sa.Column("finished", sa.Float, index=True),
    sa.Column("crashes", sa.Integer, nullable=False, default=0),
    sa.Column("erased", sa.Boolean, nullable=False, default=False),
    sa.Column("content_sha256", sa.String(64), nullable=False),
    sa.Column("label", sa.Text, nullable=False, default=""),
    sa.Column("files", sa.JSON, nullable=False),
    sa.Column("sequences", sa.JSON, nullable=False),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("problem", sa.JSON),
    sa.Column("summary", sa.JSON),
)
EVENTS: Final = sa.Table(
    "metseg_events",
    METADATA,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)
REQUESTS: Final = sa.Table(
    "metseg_idempotent_requests",
    METADATA,
    sa.Column("owner", sa.String(80), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("content_sha256", sa.String(64), nullable=False),
    sa.Column("job_id", sa.String(40), nullable=False, index=True),
)
KEYS: Final = sa.Table(
    "metseg_keys",
    METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(60), nullable=False, unique=True),
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(128), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("rate_per_minute", sa.Integer),
    sa.Column("queue_limit", sa.Integer),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("revoked", sa.Float),
)
AUDIT: Final = sa.Table(
    "metseg_audit",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("who", sa.String(80), nullable=False),
    sa.Column("what", sa.String(40), nullable=False),
    sa.Column("job_id", sa.String(40), nullable=False, default=""),
    sa.Column("facts", sa.JSON, nullable=False),
)
WORKERS: Final = sa.Table(
    "metseg_workers",
    METADATA,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("seen", sa.Float, nullable=False),
)


def open_database(settings: Settings) -> sa.Engine:
    """The engine, its tables made where they are missing."""
    if settings.database_url:
        engine = sa.create_engine(settings.sqlalchemy_url, pool_pre_ping=True, pool_size=10)
    else:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = sa.create_engine(settings.sqlalchemy_url, pool_size=10, max_overflow=20)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediately)
    _make_tables(engine)
    return engine


def _make_tables(engine: sa.Engine) -> None:
    """Make what is missing; API and worker may both be about to, in which case one of them finds it made."""
    for left in (3, 2, 1, 0):
        try:
            with engine.execution_options(writes=True).begin() as connection:
                METADATA.create_all(connection, checkfirst=True)
        except sa.exc.DBAPIError:
            if not left:
                raise
            time.sleep(0.2)
        else:
            return


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Transactions are begun by us (see below); readers do not wait for writers; what was committed is on the disk."""
    connection.isolation_level = None
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediately(connection: sa.Connection) -> None:
    """A transaction that will write takes the lock at once: one that reads first could not get it later."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
