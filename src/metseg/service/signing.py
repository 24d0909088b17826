"""Signed links: whoever has one may read one file for a short time, without a key."""

import hashlib
import hmac
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from metseg.service.problems import Problem

_SECRET_BYTES: Final = 32


class Signer:
    """Signs paths and checks signatures with a secret that never leaves the service.

    Args:
        folder: where the secret lies; it is made there if need be.
        seconds: how long a link works.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._secret, self._seconds = _secret(folder / "links.secret"), seconds

    def sign(self, path: str) -> tuple[str, int]:
        """``path`` with an end and a signature, and its end in seconds since 1970."""
        expires = int(time.time() + self._seconds)
        return f"{path}?expires={expires}&signature={self._signature(path, expires)}", expires

    def check(self, path: str, expires: int, signature: str) -> None:
        """Let a signed path pass.

        Raises:
            Problem: it was never signed, or is over.
        """
        if not hmac.compare_digest(self._signature(path, expires).encode(), signature.encode()):
            raise Problem("link-invalid", "This link was not made by the service.", "Ask the service for a new one.")
        if time.time() > expires:
            raise Problem("link-expired", "This link is over.", "Ask the service for a new one.")

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _secret(path: Path) -> bytes:
    """The secret in a file; made there by whoever comes first, of several processes too."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(_SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(aside, path)
    aside.unlink()
    return path.read_bytes()
