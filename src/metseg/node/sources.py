"""Where studies come from beside the listener: a folder that is watched, and services that are asked."""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from time import time

from metseg.core.errors import InputError, MetsegError
from metseg.io.dicom_instance import NotAnImageError, image_of, key_of
from metseg.io.dicomweb import FoundStudy, fetch_web, find_web
from metseg.io.dimse_server import OutOfRoomError
from metseg.io.folder_walk import is_dicom, is_hidden
from metseg.io.peers import told
from metseg.node.options import PollOptions, WatchOptions
from metseg.node.store import Store

_LOG = logging.getLogger(__name__)
_MODALITIES = frozenset({"MR", "CT"})


def repeat(look: Callable[[], object], every_s: float, stop: Event, what: str) -> None:
    """Look again and again until the node stops; what goes wrong is logged, and tried again the next time."""
    while not stop.is_set():
        try:
            look()
        except OutOfRoomError as error:
            _LOG.warning("%s waits: %s", what, error.message)
        except Exception as error:  # noqa: BLE001 - a service that is down or a folder that is gone may come back
            _LOG.warning("%s: %s", what, told(error))
        stop.wait(every_s)


def look_into_folder(store: Store, options: WatchOptions, now: Callable[[], float] = time) -> int:
    """Take the drops that are new and quiet; how many. Files are copied, and stay.

    Raises:
        InputError: the folder cannot be listed.
        OutOfRoomError: no more can be taken at present; what is left is taken another time.
    """
    try:
        drops = sorted(each for each in options.folder.iterdir() if each.is_dir() and not is_hidden(each.name))
    except OSError as error:
        raise InputError(f"The watched folder cannot be listed: {error.strerror}.", hint="Check it.") from error
    taken = 0
    for drop in drops:
        source = key_of(f"drop {drop.resolve()}")
        signature, newest = _signature(drop)
        if newest is None or now() - newest < options.quiet_s or store.register.signature(source) == signature:
            continue
        problem = _take_drop(store, drop)
        store.register.took(source, signature, problem)
        if problem:
            _LOG.warning("Drop %s: %s", source, problem)
        taken += 1
    return taken


def _signature(drop: Path) -> tuple[str, float | None]:
    """What tells whether a drop changed, and when it last did; None: it holds no file."""
    lines, newest = [], None
    for path in sorted(drop.rglob("*")):
        try:
            status = path.stat()
        except OSError:  # gone while we look, or a link that leads nowhere
            continue
        if path.is_file():
            lines.append(f"{path.relative_to(drop)} {status.st_size} {status.st_mtime_ns}")
            # A file that is moved here keeps its time of writing; its folder and its inode tell when it came.
            newest = max(newest or 0.0, status.st_mtime, status.st_ctime)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest(), newest


def _take_drop(store: Store, drop: Path) -> str:
    """Take the images of a drop; what was wrong with it, by counts, as names of files may be the patient's."""
    images = others = broken = 0
    for path in sorted(drop.rglob("*")):
        if not path.is_file():
            continue
        if is_hidden(path.name) or not is_dicom(path):
            others += 1
            continue
        try:
            store.take(image_of(path.read_bytes()))
            images += 1
        except NotAnImageError:
            others += 1
        except (InputError, OSError):
            broken += 1
    if broken:
        return f"{broken} DICOM files could not be read; {images} images were taken."
    return "" if images else f"There is no MR or CT image among its {others} files."


def ask_service(store: Store, options: PollOptions, today: Callable[[], datetime] = datetime.now) -> int:
    """Fetch the images of studies that are new, or have grown; of how many studies.

    Raises:
        PeerError: the service cannot be reached, or does not answer well.
        OutOfRoomError: no more can be taken at present; what is left is fetched another time.
    """
    until = today()
    dates = f"{until - timedelta(days=options.days):%Y%m%d}-{until:%Y%m%d}"
    fetched = 0
    for study in find_web(options, {"StudyDate": dates, **options.query}):
        source = key_of(f"service {options.address} {study.uid}")
        signature = str(study.size)
        if store.register.signature(source) == signature:
            continue
        try:
            problem = _take_study(store, options, study)
        except OutOfRoomError:
            raise
        except MetsegError as error:
            _LOG.warning("Study %s could not be fetched: %s", key_of(study.uid), error.message)
            continue
        if problem:
            _LOG.warning("Study %s: %s", key_of(study.uid), problem)
            continue  # and asked for again the next time
        store.register.took(source, signature)
        fetched += 1
    return fetched


def _take_study(store: Store, options: PollOptions, study: FoundStudy) -> str:
    """Take the images of a study; what was wrong with it."""

    def have(uid: str) -> bool:
        return store.has(study.uid, uid)

    broken = 0
    for _, content in fetch_web(options, study.uid, modalities=_MODALITIES, have=have):
        if content is None:
            broken += 1
            continue
        try:
            instance = image_of(content)
        except NotAnImageError:
            continue
        except InputError:
            broken += 1
            continue
        if instance.study != study.uid:
            broken += 1
            continue
        store.take(instance)
    return f"{broken} objects could not be fetched or read." if broken else ""
