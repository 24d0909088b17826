"""One study from a peer, or files to it, whichever way the peer speaks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from metseg.core.errors import InputError, MetsegError, PeerError
from metseg.io.atomic import write_bytes
from metseg.io.dicom_instance import Instance, instance_of
from metseg.io.dicomweb import fetch_web, find_web, send_web
from metseg.io.dimse_pull import Pulled, find_dimse, get_study, move_study
from metseg.io.dimse_send import send_dimse
from metseg.io.dimse_server import ListenOptions
from metseg.io.peers import Delivery, Peer

Method = Literal["get", "move"]


def send_files(
    peer: Peer, paths: Sequence[Path], on_delivery: Callable[[Delivery], object] = lambda _: None
) -> list[Delivery]:
    """Send files to a peer; one delivery a file, in order.

    Args:
        peer: where to.
        paths: DICOM files.
        on_delivery: told of each as it comes.

    Raises:
        MissingExtraError: what sends is not installed.
        ConfigError: a secret or certificate cannot be read.
    """
    made: list[Delivery] = []

    def note(delivery: Delivery) -> None:
        made.append(delivery)
        on_delivery(delivery)

    try:
        for each in send_web(peer, paths) if peer.is_web else send_dimse(peer, paths):
            note(each)
    except PeerError as error:
        for path in paths[len(made) :]:
            note(Delivery(path, "later", error.message))
    return made


def find_study(peer: Peer, accession: str) -> str:
    """UID of the study with an accession number.

    Raises:
        InputError: there is none, or several.
        PeerError: the peer cannot be reached, or does not answer well.
    """
    if peer.is_web:
        found = [study.uid for study in find_web(peer, {"AccessionNumber": accession})]
    else:
        found = find_dimse(peer, accession)
    if len(found) != 1:
        raise InputError(
            f"{len(found) or 'No'} studies have this accession number.", hint="Give the study's UID with --study."
        )
    return found[0]


def pull_study(peer: Peer, study: str, folder: Path, method: Method, listen: ListenOptions) -> Pulled:
    """Fetch a study into a folder; what one object meets costs none of the others.

    Args:
        peer: where from.
        study: its UID.
        folder: gets a file an object, named by hashes of its UID and content; made if need be.
        method: of DIMSE.
        listen: where objects are sent to, for C-MOVE.

    Raises:
        PeerError: the peer cannot be reached, or sends nothing.
        InputError: the folder cannot be made, or the port not be listened on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder for the study cannot be made: {error.strerror}.", hint="Choose another."
        ) from error

    def keep(instance: Instance) -> None:
        if instance.study != study:
            raise InputError("An object of another study came.", hint="Check the peer.")
        write_bytes(folder / instance.file_name, instance.content)

    if peer.is_web:
        return _pull_web(peer, study, keep)
    return get_study(peer, study, keep) if method == "get" else move_study(peer, study, keep, listen)


def _pull_web(peer: Peer, study: str, keep: Callable[[Instance], object]) -> Pulled:
    pulled = Pulled()
    for uid, content in fetch_web(peer, study):
        try:
            if content is None:
                raise InputError("It could not be fetched.")
            keep(instance_of(content))
            pulled.kept += 1
        except MetsegError:
            pulled.failed.append(uid)
    return pulled
