"""Find studies by C-FIND, and fetch one by C-GET or C-MOVE."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydicom.dataset import Dataset

from metseg.core.errors import PeerError
from metseg.core.extras import require
from metseg.io.dicom_instance import Instance
from metseg.io.dicom_series import IMAGE_CLASSES
from metseg.io.dicom_values import quiet, text_of
from metseg.io.dimse_send import associated
from metseg.io.dimse_server import (
    TRANSFER_SYNTAXES,
    Keep,
    ListenOptions,
    announced_uid,
    listening,
    storage_classes,
    store_status,
)
from metseg.io.peers import Peer

if TYPE_CHECKING:
    from pynetdicom.events import Event

_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
_PENDING: Final = frozenset({0xFF00, 0xFF01})
_SOME_FAILED: Final = 0xB000
_MOST: Final = 128


@dataclass
class Pulled:
    """What became of a study that was fetched.

    Args:
        kept: objects that arrived and were kept.
        failed: UIDs of those that did not, or ``"unknown"`` where the peer counts them without naming them.
    """

    kept: int = 0
    failed: list[str] = field(default_factory=list)


def find_dimse(peer: Peer, accession: str) -> list[str]:
    """UIDs of the studies with an accession number.

    Raises:
        PeerError: no association, or the peer does not answer.
    """
    require("pynetdicom", "node")
    from pynetdicom import build_context

    query = Dataset()
    query.QueryRetrieveLevel, query.AccessionNumber, query.StudyInstanceUID = "STUDY", accession, ""
    found = []
    with associated(peer, [build_context(_FIND)]) as association:
        for status, answer in association.send_c_find(query, _FIND):
            code = _code(status, peer)
            if code in _PENDING and answer is not None:
                found.append(text_of([answer], "StudyInstanceUID"))
            elif code:
                raise PeerError(f"{peer.called_aet} answered the query with 0x{code:04X}.", hint="Ask its operators.")
    return [uid for uid in dict.fromkeys(found) if uid]


def get_study(peer: Peer, study: str, keep: Keep) -> Pulled:
    """Fetch a study by C-GET, over the connection that metseg opens.

    Raises:
        PeerError: no association, or the peer gives up.
    """
    require("pynetdicom", "node")
    from pynetdicom import build_context, build_role, evt

    classes = [*storage_classes(images_only=True)]
    classes += [uid for uid in storage_classes(images_only=False) if uid not in IMAGE_CLASSES]
    classes = classes[: _MOST - 1 - len(IMAGE_CLASSES)]
    contexts = [build_context(_GET), *(build_context(uid, list(TRANSFER_SYNTAXES[:2])) for uid in classes)]
    # A context of their own for the compressed, so that a peer need not decompress what it has.
    contexts += [build_context(uid, list(TRANSFER_SYNTAXES[2:])) for uid in sorted(IMAGE_CLASSES)]
    pulled = Pulled()

    def store(event: "Event") -> int:
        return _counted(event, keep, pulled)

    handlers = [(evt.EVT_C_STORE, store)]
    with associated(peer, contexts, handlers, [build_role(uid, scp_role=True) for uid in classes]) as association:
        _finish(association.send_c_get(_whole_study(study), _GET), peer, pulled)
    return pulled


def move_study(peer: Peer, study: str, keep: Keep, listen: ListenOptions) -> Pulled:
    """Have a study sent by C-MOVE to ``listen``, an address that the peer must know by its AE title.

    Raises:
        PeerError: no association, or the peer gives up.
        InputError: the port cannot be listened on.
    """
    require("pynetdicom", "node")
    from pynetdicom import build_context

    pulled = Pulled()

    def counted(instance: Instance) -> None:
        with _count(pulled, instance.sop_instance):
            keep(instance)

    with listening(listen, counted, images_only=False), associated(peer, [build_context(_MOVE)]) as association:
        _finish(association.send_c_move(_whole_study(study), listen.aet, _MOVE), peer, pulled)
    return pulled


def _whole_study(study: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study
    return query


def _counted(event: "Event", keep: Keep, pulled: Pulled) -> int:
    announced = announced_uid(event)
    status = store_status(event.encoded_dataset(), announced, keep)
    if status:
        pulled.failed.append(announced)
    else:
        pulled.kept += 1
    return status


@contextmanager
def _count(pulled: Pulled, uid: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        pulled.failed.append(uid)
        raise
    pulled.kept += 1


def _finish(answers: Any, peer: Peer, pulled: Pulled) -> None:
    """Wait until the peer is done; add those that it says it could not send."""
    code, answer, status = 0, None, Dataset()
    for last in answers:
        status, answer = last
        code = _code(status, peer)
    with quiet():
        listed = (answer.get("FailedSOPInstanceUIDList") if answer is not None else None) or []
        named = [str(uid) for uid in ([listed] if isinstance(listed, str) else listed)]
        count = int(status.get("NumberOfFailedSuboperations") or 0)
    pulled.failed = list(dict.fromkeys([*pulled.failed, *named]))
    pulled.failed += ["unknown"] * max(0, count - len(pulled.failed))
    if code not in {0, _SOME_FAILED} and not pulled.kept:
        raise PeerError(
            f"{peer.called_aet} answered 0x{code:04X} and sent nothing.",
            hint="For C-MOVE it must know metseg's AE title, address and port; or try --method get.",
        )
    if code not in {0, _SOME_FAILED} and not pulled.failed:
        pulled.failed.append("unknown")


def _code(status: Dataset, peer: Peer) -> int:
    if "Status" not in status:
        raise PeerError(f"{peer.called_aet} did not answer in time, or hung up.", hint="Try again, or raise --timeout.")
    return int(status.Status)
