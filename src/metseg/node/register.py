"""What is known of each study, on disk: SQLite, each change whole and synced before anybody hears of it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Final, Literal

from metseg.core.errors import InputError

State = Literal["received", "segmenting", "sending", "done", "failed"]
MOST_TRIES: Final = 2
_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE study (
    key TEXT PRIMARY KEY,         -- hash of StudyInstanceUID
    state TEXT NOT NULL,
    version INTEGER NOT NULL,     -- counts the sets of images that were segmented
    tries INTEGER NOT NULL,       -- of this version
    fresh INTEGER NOT NULL,       -- something arrived, or may have, that this version does not know
    digest TEXT NOT NULL,         -- of the names of this version's images, which hold hashes of their content
    changed REAL NOT NULL,
    reason TEXT NOT NULL,
    cleared INTEGER NOT NULL      -- images and results were deleted
);
CREATE TABLE object (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL REFERENCES study,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,           -- of a result's file
    target TEXT NOT NULL,
    state TEXT NOT NULL,          -- queued, sent, refused, replaced
    tries INTEGER NOT NULL,
    queued REAL NOT NULL,
    due REAL NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX object_state ON object (state, target, due);
CREATE TABLE source (
    key TEXT PRIMARY KEY,         -- hash of a drop's path, or of a service and a study there
    signature TEXT NOT NULL,      -- as it was when it was taken
    reason TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class StudyRow:
    """What is known of a study; see the table."""

    key: str
    state: State
    version: int
    tries: int
    fresh: bool
    digest: str
    changed: float
    reason: str
    cleared: bool


@dataclass(frozen=True)
class ObjectRow:
    """A result that is sent to a target; see the table."""

    id: int
    key: str
    version: int
    name: str
    target: str
    state: Literal["queued", "sent", "refused", "replaced"]
    tries: int
    queued: float
    due: float
    reason: str


class Register:
    """The tables, for any thread, one at a time.

    Args:
        path: the file; made if need be.

    Raises:
        InputError: the file is no register of this version, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._lock = RLock()
        self._depth = 0
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                with self.whole():
                    for statement in _TABLES.split(";"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error as error:
            raise InputError(
                f"The register {path.name} of the node cannot be opened.", hint="Check the store's rights and room."
            ) from error
        if version not in {0, _VERSION}:
            raise InputError(
                "The store was made by another version of metseg.", hint="Use that version, or another store."
            )

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Everything in the block happens, or nothing of it; other threads and processes wait."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                try:
                    self._db.execute("COMMIT")
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise

    def study(self, key: str) -> StudyRow | None:
        """A study, if it is known."""
        rows = self._studies("WHERE key = ?", (key,))
        return rows[0] if rows else None

    def studies(self) -> list[StudyRow]:
        """All, those that changed last first."""
        return self._studies("ORDER BY changed DESC, key")

    def unfinished(self) -> list[StudyRow]:
        """Those in which something is new, or that wait to be tried again; the oldest first."""
        return self._studies("WHERE fresh OR state = 'received' ORDER BY changed, key")

    def waiting(self) -> int:
        """How many studies wait to be segmented, or are."""
        return int(self._all("SELECT count(*) FROM study WHERE fresh OR state IN ('received', 'segmenting')")[0][0])

    def put(self, row: StudyRow) -> None:
        """Write a study."""
        values = (*row.__dict__.values(),)
        with self.whole():
            self._db.execute(f"INSERT OR REPLACE INTO study VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608

    def expired(self, state: State, before: float) -> list[StudyRow]:
        """Those that ended in this state before a time, have nothing new, and were not cleared."""
        return self._studies("WHERE state = ? AND changed < ? AND NOT fresh AND NOT cleared", (state, before))

    def queue(self, key: str, version: int, sends: Sequence[tuple[str, str]], now: float) -> None:
        """Have results sent: name of a file, and target."""
        with self.whole():
            for name, target in sends:
                self._db.execute(
                    "INSERT INTO object (key, version, name, target, state, tries, queued, due, reason) "
                    "VALUES (?, ?, ?, ?, 'queued', 0, ?, ?, '')",
                    (key, version, name, target, now, now),
                )

    def objects(self, key: str, version: int) -> list[ObjectRow]:
        """All results of a version that are sent, by target, in their order."""
        return self._objects("WHERE key = ? AND version = ? ORDER BY id", (key, version))

    def due(self, target: str, now: float) -> list[ObjectRow]:
        """What should be sent to a target now, of the study that has waited longest, in their order."""
        rows = self._objects("WHERE state = 'queued' AND target = ? AND due <= ? ORDER BY due, id", (target, now))
        first = [row for row in rows if (row.key, row.version) == (rows[0].key, rows[0].version)]
        return sorted(first, key=lambda row: row.id)

    def settle(self, row: ObjectRow, state: str, *, tries: int, due: float, reason: str) -> None:
        """Write what became of a result; not where a newer version has replaced it."""
        with self.whole():
            self._db.execute(
                "UPDATE object SET state = ?, tries = ?, due = ?, reason = ? WHERE id = ? AND state = 'queued'",
                (state, tries, due, reason, row.id),
            )

    def replace(self, key: str) -> None:
        """Send no more of what waits to be sent of a study."""
        with self.whole():
            self._db.execute(
                "UPDATE object SET state = 'replaced', reason = 'A newer version replaced it.' "
                "WHERE key = ? AND state = 'queued'",
                (key,),
            )

    def drop_unknown(self, targets: Sequence[str]) -> list[str]:
        """Refuse what waits for targets that the file no longer has; the studies that this concerns."""
        rows = [row for row in self._objects("WHERE state = 'queued'") if row.target not in targets]
        for row in rows:
            self.settle(
                row, "refused", tries=row.tries, due=row.due, reason=f"There is no target {row.target} any more."
            )
        return list(dict.fromkeys(row.key for row in rows))

    def signature(self, source: str) -> str | None:
        """How a source was when it was taken; None if it never was."""
        rows = self._all("SELECT signature FROM source WHERE key = ?", (source,))
        return str(rows[0][0]) if rows else None

    def took(self, source: str, signature: str, reason: str = "") -> None:
        """Remember that a source was taken, and what was wrong with it."""
        with self.whole():
            self._db.execute("INSERT OR REPLACE INTO source VALUES (?, ?, ?)", (source, signature, reason))

    def faulty_sources(self) -> list[tuple[str, str]]:
        """Sources with what was wrong with them."""
        return [
            (str(key), str(reason)) for key, reason in self._all("SELECT key, reason FROM source WHERE reason <> ''")
        ]

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def _studies(self, clause: str, values: Sequence[Any] = ()) -> list[StudyRow]:
        rows = self._all(f"SELECT * FROM study {clause}", values)  # noqa: S608 - clauses are ours
        return [
            StudyRow(
                **{**dict(zip(StudyRow.__dataclass_fields__, row)), "fresh": bool(row[4]), "cleared": bool(row[8])}
            )
            for row in rows
        ]

    def _objects(self, clause: str, values: Sequence[Any] = ()) -> list[ObjectRow]:
        return [ObjectRow(*row) for row in self._all(f"SELECT * FROM object {clause}", values)]  # noqa: S608
