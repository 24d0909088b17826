"""Who did what to which job, and when. No patient data: no names of files, no labels."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from metseg.service.tables import AUDIT


@dataclass(frozen=True)
class Entry:
    """A line of the audit log; ``at`` is seconds since 1970."""

    number: int
    at: float
    who: str
    what: str
    job_id: str
    facts: dict[str, Any]


class Audit:
    """The log; only ever added to.

    Args:
        engine: of ``open_database``.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(writes=True)

    def note(self, who: str, what: str, job_id: str = "", **facts: Any) -> None:
        """Add a line; ``facts`` are hashes, counts and codes."""
        values = {"at": time.time(), "who": who, "what": what, "job_id": job_id, "facts": facts}
        with self._writing.begin() as connection:
            connection.execute(sa.insert(AUDIT).values(**values))

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """All lines after a number, in order."""
        with self._engine.connect() as connection:
            for row in connection.execute(sa.select(AUDIT).where(AUDIT.c.number > after).order_by(AUDIT.c.number)):
                yield Entry(**row._mapping)  # noqa: SLF001  # public in all but name
