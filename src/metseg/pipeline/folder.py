"""A result folder appears whole or not at all, and never costs the user a file.

A case is written into ``OUT/.<case>.partial-<pid>`` and renamed to ``OUT/<case>`` when it is complete. A result that
is there already steps aside as ``OUT/.<case>.old-<pid>`` first, since no system call replaces a folder that is not
empty; what a killed run left of either is settled by the next run on that case.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metseg.core.errors import InputError
from metseg.io.atomic import sync_folder
from metseg.io.output_folder import unwritable
from metseg.pipeline.manifest import MANIFEST, file_sha256, read_manifest


def check_name(case: str) -> None:
    """Refuse a case name that could lead out of the output folder, or hide in it.

    Raises:
        InputError: an empty or hidden name, one with a separator, or one too long for a folder.
    """
    if not case or case.startswith(".") or {"/", "\\", "\0"} & set(case) or len(case.encode()) > 200:
        raise InputError(f"{case!r} cannot name a result folder.", hint="Give the file another name.")


def check_target(target: Path, new_names: set[str], *, force: bool = False) -> None:
    """Make sure that writing a result to ``target`` takes nothing from the user.

    Raises:
        InputError: ``target`` holds something that metseg did not write and would have to give way, or an output
            was changed since metseg wrote it (``force`` replaces that one).
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target.name} in the output folder is no folder.", hint="Choose another output folder.")
    if not target.exists() or not any(target.iterdir()):
        return
    manifest = read_manifest(target)
    if manifest is None:
        raise InputError(
            f"The folder {target.name} in the output folder holds files that metseg did not write.",
            hint="Choose another output folder, so that nothing of yours is touched.",
        )
    written = {str(item["name"]): str(item["sha256"]) for item in manifest["outputs"]}
    clashing = sorted(name for name in new_names - {*written, MANIFEST} if (target / name).exists())
    if clashing:
        raise InputError(
            f"{target.name}/{clashing[0]} stands where a result would go, but metseg did not write it.",
            hint="Move it away, or choose another output folder.",
        )
    changed = [name for name, sha256 in written.items() if _changed(target / name, sha256)]
    if changed and not force:
        raise InputError(
            f"{target.name}/{changed[0]} was changed since metseg wrote it, and would be replaced.",
            hint="Use --force to replace it, or choose another output folder.",
        )


@contextmanager
def result_folder(target: Path) -> Iterator[Path]:
    """A hidden folder that takes the name ``target`` when the block ends well, and vanishes when it does not.

    Raises:
        InputError: the output folder cannot be made or written.
    """
    partial = _aside(target, "partial")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            settle_leftovers(target)
            partial.mkdir()
        except OSError as error:
            raise unwritable(target.parent, error) from error
        yield partial
        _publish(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def settle_leftovers(target: Path) -> None:
    """Tidy up after runs on this case that were killed: half results go, a result that had stepped aside comes back."""
    if not target.parent.is_dir():
        return
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(partial|old)-(\d+)")
    for entry in sorted(target.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match is None or _runs(int(match[2])):
            continue
        if match[1] == "partial":
            shutil.rmtree(entry, ignore_errors=True)
        elif not target.exists():
            entry.rename(target)
        else:
            _retire(entry, target)


def _aside(target: Path, why: str) -> Path:
    return target.with_name(f".{target.name}.{why}-{os.getpid()}")


def _runs(pid: int) -> bool:
    """Is another process of that number alive? Our own number on a leftover is that of a dead one before us."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _publish(partial: Path, target: Path) -> None:
    sync_folder(partial)
    if not target.exists():
        partial.rename(target)
    else:
        old = _aside(target, "old")
        target.rename(old)
        try:
            partial.rename(target)
        except BaseException:
            old.rename(target)
            raise
        _retire(old, target)
    sync_folder(target.parent)


def _retire(old: Path, target: Path) -> None:
    """Delete a replaced result; whatever else the user kept in its folder moves to the new one."""
    manifest = read_manifest(old)
    ours = {MANIFEST, *(str(item["name"]) for item in manifest["outputs"])} if manifest else set()
    for entry in list(old.iterdir()):
        if entry.name not in ours and not (target / entry.name).exists():
            entry.rename(target / entry.name)
    shutil.rmtree(old, ignore_errors=True)


def _changed(path: Path, sha256: str) -> bool:
    return path.exists() and file_sha256(path) != sha256
