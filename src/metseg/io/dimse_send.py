"""Send objects by C-STORE, and ask whether somebody is there by C-ECHO."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID

from metseg.core.errors import PeerError
from metseg.core.extras import require
from metseg.io.dicom_values import quiet
from metseg.io.peers import OUT_OF_RESOURCES, Delivery, Peer, client_context

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

_VERIFICATION: Final = "1.2.840.10008.1.1"
_UNCOMPRESSED: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_MOST_CONTEXTS: Final = 128  # their numbers are odd and below 256 (PS3.8 9.3.2.2)


@contextmanager
def associated(
    peer: Peer, contexts: "Sequence[PresentationContext]", handlers: Sequence[Any] = (), roles: Sequence[Any] = ()
) -> "Iterator[Association]":
    """An association for as long as the block runs.

    Args:
        peer: a DIMSE peer.
        contexts: what is proposed.
        handlers: of events, as pynetdicom wants them.
        roles: items of role selection.

    Raises:
        MissingExtraError: pynetdicom is not installed.
        PeerError: there is no connection, or the peer turns metseg away.
        ConfigError: certificates for TLS cannot be read.
    """
    require("pynetdicom", "node")
    from pynetdicom import AE

    ae = AE(ae_title=peer.aet)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = peer.timeout_s
    tls = (client_context(peer), peer.host) if peer.is_secure else None
    association = ae.associate(
        peer.host, peer.port, contexts=list(contexts), ae_title=peer.called_aet, ext_neg=list(roles),
        tls_args=tls, evt_handlers=list(handlers),
    )  # fmt: skip
    if not association.is_established:
        raise PeerError(_why_not(association, peer), hint="Check its address, port and AE titles, and that it runs.")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _why_not(association: "Association", peer: Peer) -> str:
    where = f"{peer.called_aet} at {peer.host}, port {peer.port}"
    if association.is_rejected:
        answer = association.acceptor.primitive
        code = (0, 0) if answer is None else (answer.result_source or 0, answer.diagnostic or 0)
        reason = {
            (1, 3): f"does not know the AE title {peer.aet}",
            (1, 7): f"is not called {peer.called_aet}",
            (3, 1): "is too busy for now",
            (3, 2): "has too many associations for now",
        }.get(code, "turns metseg away")
        return f"{where} {reason}."
    if association.is_aborted:
        return f"{where} could not be reached, or hung up."
    return f"{where} takes none of what would be sent."


def echo(peer: Peer) -> None:
    """Ask whether the peer is there.

    Raises:
        PeerError: it is not, or does not answer well.
    """
    require("pynetdicom", "node")
    from pynetdicom import build_context

    with associated(peer, [build_context(_VERIFICATION)]) as association:
        status = association.send_c_echo()
        if status.get("Status") != 0:
            raise PeerError(f"{peer.called_aet} does not answer a C-ECHO.", hint="Check that it allows it.")


def send_dimse(peer: Peer, paths: Sequence[Path]) -> Iterator[Delivery]:
    """Send files, one after the other, in one association; what one of them meets costs none of the others.

    Raises:
        PeerError: there is no association.
    """
    require("pynetdicom", "node")
    from pynetdicom import build_context

    kinds = {path: _kind(path) for path in paths}
    proposed = list(dict.fromkeys(_proposal(*kind) for kind in kinds.values() if kind))[:_MOST_CONTEXTS]
    if not proposed:
        yield from (_unreadable(path) for path in paths)
        return
    contexts = [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in proposed]
    with associated(peer, contexts) as association:
        for path in paths:
            kind = kinds[path]
            if kind is None:
                yield _unreadable(path)
            elif not association.is_established:
                yield Delivery(path, "later", f"{peer.called_aet} ended the association.")
            else:
                yield _send(association, peer, path, kind)


def _send(association: "Association", peer: Peer, path: Path, kind: tuple[str, str]) -> Delivery:
    name = UID(kind[0]).name
    accepted = [context for context in association.accepted_contexts if context.abstract_syntax == kind[0]]
    if not accepted:
        return Delivery(path, "refused", f"{peer.called_aet} does not take {name}.")
    if not any(_fits(str(context.transfer_syntax[0]), kind[1]) for context in accepted):
        return Delivery(path, "refused", f"{peer.called_aet} does not take {name} in {UID(kind[1]).name}.")
    try:
        with quiet():
            status = association.send_c_store(dcmread(path))
    except Exception as error:  # noqa: BLE001 - what a broken file provokes in the encoder costs that file only
        return Delivery(path, "refused", f"The file cannot be sent ({type(error).__name__}).")
    if "Status" not in status:
        return Delivery(path, "later", f"{peer.called_aet} did not answer within {peer.timeout_s:g} s, or hung up.")
    return _judged(path, int(status.Status), peer)


def _judged(path: Path, code: int, peer: Peer) -> Delivery:
    from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

    if code_to_category(code) in {"Success", "Warning"}:
        return Delivery(path, "sent")
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(code, ("", ""))[1]
    said = f"{peer.called_aet} answered 0x{code:04X}{f' ({meaning})' if meaning else ''}."
    return Delivery(path, "later" if code in OUT_OF_RESOURCES else "refused", said)


def _kind(path: Path) -> tuple[str, str] | None:
    """UIDs of the kind of object and of its transfer syntax; None where the file does not tell."""
    try:
        with quiet():
            meta = read_file_meta_info(path)
            return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except Exception:  # noqa: BLE001 - any byte can be wrong, and pydicom raises what that provokes
        return None


def _proposal(sop_class: str, syntax: str) -> tuple[str, tuple[str, ...]]:
    return sop_class, _UNCOMPRESSED if syntax in _UNCOMPRESSED else (syntax,)


def _fits(accepted: str, own: str) -> bool:
    return accepted == own or {accepted, own} <= set(_UNCOMPRESSED)


def _unreadable(path: Path) -> Delivery:
    return Delivery(path, "refused", "It is no DICOM file, or one without a header that says what it is.")
