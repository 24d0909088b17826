"""Another DICOM system: where it is, how it is reached, and what became of the objects that it was sent."""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from metseg.core.errors import ConfigError, MetsegError
from metseg.core.options import Options

AeTitle = Annotated[str, StringConstraints(pattern=r"^[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?$")]
_AE_TITLE: Final = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)  # statuses of C-STORE, and failure reasons of STOW-RS
_FORMS: Final = "dimse://AETITLE@host:port, dimses:// for TLS, or the https:// address of a DICOMweb service"


class Peer(Options):
    """Another system.

    Args:
        address: ``dimse://AETITLE@host:port`` (``dimses`` with TLS), or the URL of a DICOMweb service.
        aet: the AE title that metseg calls itself by.
        tls_ca: certificates that the peer's must be signed by; None for those that the system trusts.
        tls_cert: metseg's own certificate, where the peer wants one.
        tls_key: its key.
        user: name for HTTP basic authentication, with ``password_file``.
        password_file: its first line is the password.
        token_file: its first line is a bearer token.
        timeout_s: how long to wait for an answer.
    """

    address: str
    aet: AeTitle = "METSEG"
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0

    @field_validator("address")
    @classmethod
    def _known_form(cls, address: str) -> str:
        """One of the forms; no password in it."""
        try:
            parts = urlsplit(address)
            dimse = parts.scheme in {"dimse", "dimses"} and parts.port and parts.username and not parts.path.strip("/")
            good = parts.hostname and parts.password is None and (dimse or parts.scheme in {"http", "https"})
        except ValueError:
            good = dimse = False
        if dimse and not _AE_TITLE.fullmatch(unquote(parts.username or "")):
            good = False
        if not good or (not dimse and parts.username):
            message = f"a peer is written as {_FORMS}"
            raise ValueError(message)
        return address

    @model_validator(mode="after")
    def _whole(self) -> "Peer":
        """What belongs together is there together."""
        secret = self.user or self.password_file or self.token_file
        problem = ""
        if (self.tls_cert is None) != (self.tls_key is None):
            problem = "tls_cert and tls_key belong together"
        elif (self.user is None) != (self.password_file is None):
            problem = "user and password_file belong together"
        elif secret and not self.is_web:
            problem = "user, password_file and token_file are for DICOMweb"
        elif secret and self._parts.scheme == "http" and not is_loopback(self.host):
            problem = "a password or token is sent over https only"
        if problem:
            raise ValueError(problem)
        return self

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.address)

    @property
    def is_web(self) -> bool:
        """DICOMweb, not DIMSE."""
        return self._parts.scheme in {"http", "https"}

    @property
    def is_secure(self) -> bool:
        """With TLS."""
        return self._parts.scheme in {"https", "dimses"}

    @property
    def host(self) -> str:
        """Name or IP address."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        """TCP port of a DIMSE peer."""
        return self._parts.port or 0

    @property
    def called_aet(self) -> str:
        """AE title of a DIMSE peer."""
        return unquote(self._parts.username or "")


@dataclass(frozen=True)
class Delivery:
    """What became of one object.

    Args:
        path: its file.
        state: ``"sent"``; ``"refused"``: it would be again; ``"later"``: another time it may be taken.
        reason: why it was not sent, a sentence; what the peer said in words is not repeated.
    """

    path: Path
    state: Literal["sent", "refused", "later"]
    reason: str = ""


def is_loopback(host: str) -> bool:
    """Is this an address that only this machine reaches? Names but ``localhost`` are taken for others."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def client_context(peer: Peer) -> ssl.SSLContext:
    """TLS towards a peer: its certificate and name are checked.

    Raises:
        ConfigError: a certificate or key cannot be read.
    """
    return _context(ssl.Purpose.SERVER_AUTH, peer.tls_ca, peer.tls_cert, peer.tls_key)


def server_context(cert: Path, key: Path, ca: Path | None) -> ssl.SSLContext:
    """TLS for those who call; with ``ca`` they must show a certificate that it signed.

    Raises:
        ConfigError: a certificate or key cannot be read.
    """
    context = _context(ssl.Purpose.CLIENT_AUTH, ca, cert, key)
    context.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    return context


def first_line(path: Path, what: str) -> str:
    """A secret out of a file.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    try:
        line = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The {what} {path.name} cannot be read.", hint="Check the path and its rights.") from error
    if not line:
        raise ConfigError(f"The {what} {path.name} is empty.", hint="Put the secret on its first line.")
    return line


def told(error: BaseException) -> str:
    """An error as a sentence for a log or a reason."""
    return f"{error.message} {error.hint}".strip() if isinstance(error, MetsegError) else type(error).__name__


def _context(purpose: ssl.Purpose, ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(purpose, cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert and key:
            context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            "The certificate or key for TLS cannot be read.",
            hint="Give PEM files that exist, belong together and may be read.",
        ) from error
    return context
