"""The node's folder: images as they arrived, results, and the register of studies.

``studies/KEY/`` holds a study's images, ``results/KEY-vN/`` the result of its N-th version; KEY is a hash of its UID.
What is on the disk under its final name was received whole; ``register.sqlite`` says what has been done with it.
"""

import fcntl
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from time import monotonic, time
from typing import Final

from metseg.core.errors import InputError, MetsegError
from metseg.io.atomic import sync_folder, write_bytes
from metseg.io.dicom_instance import Instance, instance_files, key_of
from metseg.io.dimse_server import OutOfRoomError
from metseg.node.register import MOST_TRIES, Register, State, StudyRow

GB: Final = 10**9
_REGISTER: Final = "register.sqlite"
_OWN: Final = {"studies", "results", _REGISTER, f"{_REGISTER}-wal", f"{_REGISTER}-shm"}


@dataclass(frozen=True)
class Job:
    """A version of a study to segment.

    Args:
        key: of the study.
        version: of its images.
        files: the images.
    """

    key: str
    version: int
    files: tuple[Path, ...]

    @property
    def case(self) -> str:
        """What the case, and so the folder of its result, is called."""
        return f"{self.key}-v{self.version}"


class Store:
    """The folder, for any thread.

    Args:
        folder: made if need be, for its user only.
        max_waiting: no study is begun while so many wait.
        min_free_bytes: nothing is taken while less is free.

    Raises:
        InputError: the folder cannot be made, or is not metseg's.
    """

    def __init__(self, folder: Path, *, max_waiting: int = 200, min_free_bytes: int = 0) -> None:
        self.folder = folder
        self._max_waiting, self._min_free_bytes = max_waiting, min_free_bytes
        self._lock = RLock()
        self._arrived: dict[str, float] = {}
        self._coming: Counter[str] = Counter()  # images of a study that are being written
        try:
            if folder.is_dir() and not {each.name for each in folder.iterdir()} <= _OWN:
                raise InputError(
                    "The folder of the node's store holds something else.",
                    hint="Choose one that is empty or not there.",
                )
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            for each in (folder / "studies", folder / "results"):
                each.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"The node's store cannot be made: {error.strerror}.", hint="Choose a folder that may be written."
            ) from error
        self.register = Register(folder / _REGISTER)

    @property
    def results(self) -> Path:
        """The folder of results."""
        return self.folder / "results"

    def take(self, instance: Instance) -> bool:
        """Keep an image; when this returns, it is on the disk and will be segmented. False: it was there already.

        Raises:
            OutOfRoomError: too many studies wait, or the disk is full; nothing was changed.
        """
        key = instance.study_key
        place = self.folder / "studies" / key
        target = place / instance.file_name
        with self._lock:
            if target.exists():
                sync_folder(place)  # whoever brings it at the same time may not have come that far
                return False
            row = self.register.study(key)
            self._admit(row, len(instance.content))
            if row is None or not row.fresh or row.cleared:
                # Before the image: were it known after, a crash between would leave one that nobody looks for.
                self._mark(key, row)
            self._coming[key] += 1  # the study does not begin before this one is there
        try:
            _write(target, instance.content)
        except (OSError, MetsegError) as error:
            raise OutOfRoomError("The disk did not take it.", hint="Make room.") from error
        finally:
            with self._lock:
                self._coming[key] -= 1
                self._arrived[key] = monotonic()
        return True

    def has(self, study: str, sop_instance: str) -> bool:
        """Is there an image of this UID in the study of this UID?"""
        place = self.folder / "studies" / key_of(study)
        return any(place.glob(f"{key_of(sop_instance)}-*.dcm"))

    def has_room(self) -> bool:
        """Is there enough free on the disk to go on?"""
        return shutil.disk_usage(self.folder).free >= self._min_free_bytes

    def _admit(self, row: StudyRow | None, size: int) -> None:
        if shutil.disk_usage(self.folder).free < self._min_free_bytes + size:
            raise OutOfRoomError("The disk has too little room.", hint="Make room, or lower min_free_gb.")
        waits = row is not None and (row.fresh or row.state == "received")
        if not waits and self.register.waiting() >= self._max_waiting:
            raise OutOfRoomError("Too many studies wait already.", hint="Wait, or raise max_waiting.")

    def _mark(self, key: str, row: StudyRow | None) -> None:
        known = row or StudyRow(key, "received", 0, 0, fresh=True, digest="", changed=0, reason="", cleared=False)
        self.register.put(replace(known, fresh=True, cleared=False, changed=time()))

    def recover(self) -> None:
        """Settle what a process before this one left: a study it was busy with is tried again, but not for ever."""
        with self._lock, self.register.whole():
            for row in self.register.studies():
                if row.state == "segmenting":
                    lost = row.tries >= MOST_TRIES
                    reason = f"The process ended {row.tries} times while it was segmented." if lost else ""
                    state: State = "failed" if lost else "received"
                    self.register.put(replace(row, state=state, reason=reason, changed=time()))
                elif row.state == "sending":  # its last object may have been sent, and nobody noted that
                    self.conclude_sending(row.key)

    def sweep(self) -> None:
        """Delete what a process that was killed had half written; for a node that begins."""
        for part in (self.folder / "studies").glob("*/.*.part"):
            part.unlink(missing_ok=True)
        for part in self.results.glob(".*-v*.partial-*"):
            shutil.rmtree(part, ignore_errors=True)

    def next_job(self, quiet_s: float) -> Job | None:
        """Begin the study that has waited longest and is quiet; None where there is none."""
        with self._lock, self.register.whole():
            for row in self.register.unfinished():
                # After a restart nobody knows when the last image came: the wait begins anew.
                arrived = self._arrived.setdefault(row.key, monotonic())
                busy = row.state == "segmenting" or self._coming[row.key]
                if busy or (row.fresh and monotonic() - arrived < quiet_s):
                    continue
                job = self._begun(row)
                if job is not None:
                    return job
        return None

    def _begun(self, row: StudyRow) -> Job | None:
        files = tuple(instance_files(self.folder / "studies" / row.key))
        digest = hashlib.sha256("\n".join(path.name for path in files).encode()).hexdigest()
        if row.fresh:
            self._arrived.pop(row.key, None)
            if not files or (digest == row.digest and row.state in {"sending", "done", "failed"}):
                # The same again (after it was cleared, or one that never arrived whole): nothing to do.
                state = "done" if row.state == "received" else row.state
                self.register.put(replace(row, state=state, fresh=False, changed=time()))
                return None
            again = row.state == "received" and digest == row.digest
            version, tries = (row.version, row.tries + 1) if again else (row.version + 1, 1)
            self.register.replace(row.key)
        else:
            version, tries = row.version, row.tries + 1
        self.register.put(
            replace(
                row, state="segmenting", version=version, tries=tries, fresh=False, digest=digest, changed=time(),
                reason="",
            )
        )  # fmt: skip
        return Job(row.key, version, files)

    def finish(self, job: Job, sends: list[tuple[str, str]], note: str = "") -> None:
        """A study was segmented; its results are to be sent: name of a file, and target."""
        with self._lock, self.register.whole():
            row = self._row(job)
            self.register.queue(job.key, job.version, sends, time())
            state: State = "sending" if sends else "done"
            self.register.put(replace(row, state=state, changed=time(), reason=note))

    def fail(self, job: Job, reason: str, *, final: bool) -> bool:
        """A study could not be segmented: set aside if ``final`` or tried twice, else tried again. Was it set aside?"""
        with self._lock, self.register.whole():
            row = self._row(job)
            aside = final or row.tries >= MOST_TRIES
            self.register.put(replace(row, state="failed" if aside else "received", changed=time(), reason=reason))
        return aside

    def put_back(self, job: Job) -> None:
        """The node stops while it segments: this try does not count."""
        with self._lock, self.register.whole():
            row = self._row(job)
            self.register.put(replace(row, state="received", tries=row.tries - 1, changed=time()))

    def conclude_sending(self, key: str) -> StudyRow | None:
        """Once nothing of a study waits to be sent, it is done, or set aside with what was refused; else None."""
        with self._lock, self.register.whole():
            row = self.register.study(key)
            if row is None or row.state != "sending":
                return None
            objects = self.register.objects(key, row.version)
            if any(each.state == "queued" for each in objects):
                return None
            refused = [f"{each.name} to {each.target}: {each.reason}" for each in objects if each.state == "refused"]
            state: State = "failed" if refused else "done"
            ended = replace(row, state=state, changed=time(), reason=" ".join(refused) or row.reason)
            self.register.put(ended)
            return ended

    def retry(self, key: str) -> bool:
        """Have a study that was set aside, or was done, segmented and sent again; False: its images are gone."""
        with self._lock, self.register.whole():
            row = self.register.study(key)
            if row is None or row.cleared or row.state in {"received", "segmenting"}:
                return False
            self.register.put(replace(row, fresh=True, digest="", reason="", changed=time()))
        return True

    def clear(self, keep_s: float, keep_failed_s: float) -> int:
        """Delete images and results of studies that ended long enough ago; how many."""
        with self._lock:
            now = time()
            rows = self.register.expired("done", now - keep_s) + self.register.expired("failed", now - keep_failed_s)
            for row in rows:
                self.register.put(replace(row, cleared=True))
                shutil.rmtree(self.folder / "studies" / row.key, ignore_errors=True)
                for result in self.results.glob(f"{row.key}-v*"):
                    shutil.rmtree(result, ignore_errors=True)
        return len(rows)

    def _row(self, job: Job) -> StudyRow:
        row = self.register.study(job.key)
        if row is None:  # never, as a job is made of its row
            raise InputError("The register lost a study.", hint="Check the disk.")
        return row


def _write(target: Path, content: bytes) -> None:
    """Write an image; the same object with another content gives way: the last word stands."""
    if not target.parent.exists():
        target.parent.mkdir(exist_ok=True)
        sync_folder(target.parent.parent)
    write_bytes(target, content)
    for path in target.parent.glob(f"{target.name[:24]}-*.dcm"):
        if path != target:
            path.unlink(missing_ok=True)


@contextmanager
def only_node(folder: Path) -> Iterator[None]:
    """One node a store.

    Raises:
        InputError: another one runs on it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "Another node runs on this store.", hint="Stop it first, or give this one a store of its own."
            ) from error
        yield
    finally:
        os.close(handle)
