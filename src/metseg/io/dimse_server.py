"""A DICOM listener: Storage and Verification, for those who are on the lists."""

import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from pydantic import Field, field_validator, model_validator

from metseg.core.errors import InputError, MetsegError
from metseg.core.extras import require
from metseg.core.options import Options
from metseg.io.dicom_instance import Instance, NotAnImageError, instance_of
from metseg.io.dicom_series import IMAGE_CLASSES
from metseg.io.peers import AeTitle, is_loopback, server_context

if TYPE_CHECKING:
    from pynetdicom.events import Event

_LOG = logging.getLogger(__name__)
_SUCCESS: Final = 0x0000
_OUT_OF_RESOURCES: Final = 0xA700
_DOES_NOT_MATCH: Final = 0xA900
_CANNOT_UNDERSTAND: Final = 0xC000
_HANDSHAKE_S: Final = 10.0
# What the reader of images can decode (docs/reference/dicom-intake.md); deflated is refused there.
TRANSFER_SYNTAXES: Final = (
    "1.2.840.10008.1.2.1",  # explicit, little-endian
    "1.2.840.10008.1.2",  # implicit
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",  # JPEG
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81",  # JPEG-LS
    "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.5",  # RLE
)  # fmt: skip
# Takes an object; an InputError refuses it, OutOfRoomError asks to send it another time.
Keep = Callable[[Instance], object]


class OutOfRoomError(MetsegError):
    """No more can be taken at present."""


class ListenOptions(Options):
    """Where to listen, and to whom.

    Args:
        aet: metseg's AE title; whoever calls another one is turned away.
        host: the address to bind. Beyond the loopback interface only with ``allow_ips``.
        port: TCP port; 0 for any that is free.
        allow_ips: addresses and networks that may connect; empty: all that reach ``host``.
        allow_aets: AE titles that may call; empty: all. A title is a claim that anybody can make.
        tls_cert: certificate, PEM; with it only TLS is spoken.
        tls_key: its key.
        tls_ca: with it, callers must show a certificate that it signed.
        max_associations: at a time; one more is turned away for now.
        timeout_s: an association that is silent for so long is ended.
    """

    aet: AeTitle = "METSEG"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    allow_ips: tuple[str, ...] = ()
    allow_aets: tuple[AeTitle, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    max_associations: Annotated[int, Field(ge=1, le=200)] = 8
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0

    @field_validator("allow_ips")
    @classmethod
    def _networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            ipaddress.ip_network(value)
        return values

    @model_validator(mode="after")
    def _guarded(self) -> "ListenOptions":
        problem = ""
        if not is_loopback(self.host) and not self.allow_ips:
            problem = f"to listen on {self.host}, beyond this machine, allow_ips must say who may connect"
        elif (self.tls_cert is None) != (self.tls_key is None):
            problem = "tls_cert and tls_key belong together"
        elif self.tls_ca and not self.tls_cert:
            problem = "tls_ca needs tls_cert and tls_key"
        if problem:
            raise ValueError(problem)
        return self

    def allows(self, address: str) -> bool:
        """May this IP address connect?"""
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return not self.allow_ips or any(ip in ipaddress.ip_network(each) for each in self.allow_ips)


@contextmanager
def listening(options: ListenOptions, keep: Keep, *, images_only: bool = True) -> Iterator[int]:
    """Listen for as long as the block runs.

    Args:
        options: where, and to whom.
        keep: gets each object; the sender is told of success once it has returned, and not before.
        images_only: take MR and CT images only; other kinds are not negotiated.

    Yields:
        The TCP port.

    Raises:
        MissingExtraError: pynetdicom is not installed.
        InputError: the address cannot be bound.
        ConfigError: certificates for TLS cannot be read.
    """
    require("pynetdicom", "node")
    from pynetdicom import AE, evt

    ae = AE(ae_title=options.aet)
    ae.require_called_aet = True
    ae.require_calling_aet = list(options.allow_aets)
    ae.maximum_associations = options.max_associations
    ae.network_timeout = ae.dimse_timeout = ae.acse_timeout = options.timeout_s
    ae.add_supported_context("1.2.840.10008.1.1")
    for sop_class in storage_classes(images_only=images_only):
        ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
    tls = (
        server_context(options.tls_cert, options.tls_key, options.tls_ca)
        if options.tls_cert and options.tls_key
        else None
    )
    handlers: list[Any] = [(evt.EVT_C_STORE, _store, [keep])]
    try:
        server = ae.make_server(
            (options.host, options.port), ssl_context=tls, evt_handlers=handlers, server_class=_server_class(options)
        )
    except OSError as error:
        raise InputError(
            f"Port {options.port} of {options.host} cannot be listened on: {error.strerror}.",
            hint="Choose a port that is free and that this user may bind (1024 and up).",
        ) from error
    from threading import Thread

    ae._servers.append(server)  # noqa: SLF001 - as AE.start_server does, which takes no class of ours
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="metseg listener", daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        for association in server.active_associations:
            association.abort()
        server.shutdown()


def storage_classes(*, images_only: bool) -> Sequence[str]:
    """UIDs of the kinds of objects: MR and CT images, or all."""
    if images_only:
        return sorted(IMAGE_CLASSES)
    from pynetdicom import AllStoragePresentationContexts

    return [str(context.abstract_syntax) for context in AllStoragePresentationContexts]


def store_status(content: bytes, announced: str, keep: Keep) -> int:
    """Keep an object that arrived; the status of the answer. ``announced`` is the UID that the request gave.

    Nothing that goes wrong here ends the association: the sender hears of it, and the log, which names nobody.
    """
    try:
        instance = instance_of(content)
        if instance.sop_instance != announced:
            return _DOES_NOT_MATCH
        keep(instance)
    except NotAnImageError:
        return _DOES_NOT_MATCH
    except OutOfRoomError as error:
        _LOG.warning("An object was not taken: %s", error.message)
        return _OUT_OF_RESOURCES
    except InputError as error:
        _LOG.warning("An object was refused: %s", error.message)
        return _CANNOT_UNDERSTAND
    except Exception as error:  # noqa: BLE001 - a full disk, a broken register: the sender should try again
        _LOG.error("An object could not be kept (%s).", type(error).__name__)
        return _OUT_OF_RESOURCES
    return _SUCCESS


def announced_uid(event: "Event") -> str:
    """The UID that a request to store gives for its object."""
    return str(getattr(event.request, "AffectedSOPInstanceUID", ""))


def _store(event: "Event", keep: Keep) -> int:
    return store_status(event.encoded_dataset(), announced_uid(event), keep)


def _server_class(options: ListenOptions) -> Any:
    """The server of pynetdicom, for allowed addresses only; one who is slow in beginning TLS keeps nobody waiting."""
    from pynetdicom.transport import ThreadedAssociationServer

    class Server(ThreadedAssociationServer):
        daemon_threads = True
        block_on_close = False

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = cast(socket.socket, self.socket).accept()
            if self.ssl_context:
                connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return connection, address

        def verify_request(self, request: Any, client_address: Any) -> bool:
            del request
            allowed = options.allows(client_address[0])
            if not allowed:
                _LOG.warning("A connection from %s, which is not in allow_ips, was closed.", client_address[0])
            return allowed

        def finish_request(self, request: Any, client_address: Any) -> None:
            if isinstance(request, ssl.SSLSocket):
                request.settimeout(_HANDSHAKE_S)
                request.do_handshake()
                request.settimeout(options.timeout_s)
            super().finish_request(request, client_address)

        def handle_error(self, request: Any, client_address: Any) -> None:
            del request
            _LOG.warning("A connection from %s failed before it began.", client_address[0])

    return Server
