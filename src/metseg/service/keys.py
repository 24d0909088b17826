"""API keys: shown once, kept as scrypt hashes, with scopes and limits of their own."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from metseg.core.errors import ConfigError
from metseg.service.tables import KEYS

# read: one's own jobs; submit: send studies, cancel one's own; erase: delete one's own; all: these for everybody's
# jobs; metrics: GET /metrics.
SCOPES: Final = ("read", "submit", "erase", "all", "metrics")
DEFAULT_SCOPES: Final = ("read", "submit", "erase")
_MARK: Final = "metseg"
_REMEMBERED_S: Final = 300.0
_REMEMBERED: Final = 1000


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Args:
        name: of the key; ``"local"`` where no key is wanted.
        scopes: what is allowed.
        rate_per_minute: most requests; None for the service's limit.
        queue_limit: most jobs that wait or run; None for the service's limit alone.
    """

    name: str
    scopes: frozenset[str]
    rate_per_minute: int | None = None
    queue_limit: int | None = None

    def sees(self, owner: str) -> bool:
        """May the caller see this owner's jobs?"""
        return self.name == owner or "all" in self.scopes


LOCAL: Final = Caller("local", frozenset(SCOPES))


@dataclass(frozen=True)
class KeyInfo:
    """A key as the table has it, less its hash."""

    id: str
    name: str
    scopes: tuple[str, ...]
    rate_per_minute: int | None
    queue_limit: int | None
    created: float
    revoked: float | None


@dataclass
class _Known:
    """Tokens whose slow hash was right a while ago, by their fast hash."""

    until: dict[str, float] = field(default_factory=dict)


class Keys:
    """All keys.

    Args:
        engine: of ``open_database``.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(writes=True)
        self._known = _Known()

    def add(
        self,
        name: str,
        scopes: Iterable[str] = DEFAULT_SCOPES,
        rate_per_minute: int | None = None,
        queue_limit: int | None = None,
    ) -> str:
        """Make a key and return it; it cannot be shown again.

        Raises:
            ConfigError: the name is taken or empty, or there is no such scope.
        """
        chosen = list(dict.fromkeys(scopes))
        if not name or len(name) > 60 or not name.isprintable() or name == LOCAL.name:
            raise ConfigError(f"{name!r} cannot name a key.", hint="Take another of at most 60 signs.")
        if strange := [scope for scope in chosen if scope not in SCOPES] or not chosen:
            raise ConfigError(f"There is no scope {strange}.", hint=f"Scopes are {', '.join(SCOPES)}.")
        key_id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(32), secrets.token_bytes(16)
        values = {
            "id": key_id, "name": name, "salt": salt.hex(), "hash": _slow_hash(secret, salt), "scopes": chosen,
            "rate_per_minute": rate_per_minute, "queue_limit": queue_limit, "created": time.time(),
        }  # fmt: skip
        try:
            with self._writing.begin() as connection:
                connection.execute(sa.insert(KEYS).values(**values))
        except sa.exc.IntegrityError as error:
            raise ConfigError(f"There is a key called {name!r} already.", hint="Take another name.") from error
        return f"{_MARK}_{key_id}_{secret}"

    def list(self) -> list[KeyInfo]:
        """All keys, revoked ones too, the oldest first."""
        names = [column for column in KEYS.c if column.name not in {"salt", "hash"}]
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*names).order_by(KEYS.c.created)).mappings()
            return [KeyInfo(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]

    def revoke(self, name: str) -> None:
        """Make a key worthless from now on.

        Raises:
            ConfigError: there is none of that name.
        """
        with self._writing.begin() as connection:
            changed = connection.execute(
                sa.update(KEYS).where(KEYS.c.name == name, KEYS.c.revoked.is_(None)).values(revoked=time.time())
            )
        if not changed.rowcount:
            raise ConfigError(f"There is no key called {name!r} that could be revoked.", hint="metseg serve keys list")

    def caller(self, token: str) -> Caller | None:
        """Who a key belongs to; None where it is no key, or one that was revoked."""
        mark, _, rest = token.partition("_")
        key_id, _, secret = rest.partition("_")
        if mark != _MARK or not key_id or not secret:
            return None
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(KEYS).where(KEYS.c.id == key_id, KEYS.c.revoked.is_(None))).one_or_none()
        if row is None or not self._right(token, secret, row.salt, row.hash):
            return None
        return Caller(row.name, frozenset(row.scopes), row.rate_per_minute, row.queue_limit)

    def _right(self, token: str, secret: str, salt: str, expected: str) -> bool:
        """Compare by the slow hash, whose good news is remembered a while: requests come by the hundred."""
        fast, now = hashlib.sha256(token.encode()).hexdigest(), time.monotonic()
        if self._known.until.get(fast, 0.0) > now:
            return True
        if not hmac.compare_digest(_slow_hash(secret, bytes.fromhex(salt)), expected):
            return False
        if len(self._known.until) >= _REMEMBERED:
            self._known.until.clear()
        self._known.until[fast] = now + _REMEMBERED_S
        return True


def _slow_hash(secret: str, salt: bytes) -> str:
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32).hex()
