"""Where studies lie on the disk: uploads, contents by their hash, and a folder for each job. All names are ours.

incoming/RANDOM/      an upload that is on its way
contents/ab/abcd…     each content once, whatever the number of jobs that have it (hard links)
jobs/ID/input/        the files of a job, links to contents
jobs/ID/results/      what ``metseg segment`` would write
jobs/ID/volumes/      the images as they were read, for viewers
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from metseg.io.atomic import sync_folder, sync_tree
from metseg.service.problems import Problem

CASE: Final = "study"


class Vault:
    """The folder of the service.

    Args:
        root: ``METSEG_DATA_DIR``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._incoming, self._contents, self._jobs = (self.root / name for name in ("incoming", "contents", "jobs"))
        for folder in (self._incoming, self._contents, self._jobs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def new_upload(self) -> Path:
        """A folder for an upload."""
        folder = self._incoming / secrets.token_hex(12)
        folder.mkdir(mode=0o700)
        return folder

    def adopt(self, upload: Path, job_id: str, hashes: dict[Path, str]) -> None:
        """Make an upload the input of a job, each content stored once; all of it is on the disk when this returns.

        Args:
            upload: of ``new_upload``.
            job_id: the job's.
            hashes: SHA-256 of each file of the upload.
        """
        for path, sha256 in hashes.items():
            self._share(path, sha256)
        target = self._jobs / job_id
        target.mkdir(mode=0o700)
        sync_tree(upload)
        upload.rename(target / "input")
        sync_folder(target)
        sync_folder(self._jobs)

    def _share(self, path: Path, sha256: str) -> None:
        """Let ``path`` and the content of that hash be one file."""
        content = self._contents / sha256[:2] / sha256
        content.parent.mkdir(exist_ok=True, mode=0o700)
        try:
            os.link(path, content)
        except FileExistsError:
            aside = path.with_name(f".{path.name}.link")
            with suppress(FileNotFoundError):  # erased just now: the upload's own copy does
                os.link(content, aside)
                aside.replace(path)

    def input(self, job_id: str) -> Path:
        """The folder with the files of a job."""
        return self._jobs / job_id / "input"

    def results(self, job_id: str) -> Path:
        """The folder above the result's."""
        return self._jobs / job_id / "results"

    def result(self, job_id: str) -> Path:
        """The folder of a job's result; it is there when the result is whole."""
        return self.results(job_id) / CASE

    def volumes(self, job_id: str) -> Path:
        """The folder of the images as they were read."""
        return self._jobs / job_id / "volumes"

    def erase(self, job_id: str, hashes: Iterable[str]) -> None:
        """Take a job's files away, and those of its contents that no other job has. May be called again."""
        shutil.rmtree(self._jobs / job_id, ignore_errors=True)
        for sha256 in set(hashes):
            content = self._contents / sha256[:2] / sha256
            with suppress(FileNotFoundError):
                if content.stat().st_nlink == 1:
                    content.unlink()

    def jobs(self, older_than_s: float) -> list[str]:
        """Ids of the jobs with files here, the latest left out."""
        now, found = time.time(), []
        for folder in self._jobs.iterdir():
            with suppress(FileNotFoundError):
                if now - folder.stat().st_mtime > older_than_s:
                    found.append(folder.name)
        return found

    def sweep(self, older_than_s: float) -> None:
        """Take away uploads that nobody goes on with, and contents that no job has."""
        now = time.time()
        for folder in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if now - folder.stat().st_mtime > older_than_s:
                    shutil.rmtree(folder, ignore_errors=True)
        for content in self._contents.glob("*/*"):
            with suppress(FileNotFoundError):
                status = content.stat()
                if status.st_nlink == 1 and now - status.st_mtime > older_than_s:
                    content.unlink()

    def check_room(self, wanted: int, reserve: int) -> None:
        """Refuse what the disk has no room for.

        Raises:
            Problem: ``wanted`` bytes would not leave ``reserve``.
        """
        if shutil.disk_usage(self.root).free < wanted + reserve:
            raise no_room()


def no_room() -> Problem:
    """The disk is full, or would be."""
    return Problem(
        "disk-full",
        "The disk of the service has no room for this upload.",
        "Erase studies that are not needed any more, or tell whoever keeps the service.",
    )
