"""A folder appears whole or not at all, even where the process that writes it is killed or the power goes.

It is written as ``.<name>.partial-<pid>`` beside its place and renamed when it is complete. What is there already steps
aside as ``.<name>.old-<pid>`` first, since no system call replaces a folder that is not empty. What a killed process
left of either is settled by the next one that writes there.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from metseg.io.atomic import sync_folder, sync_tree
from metseg.io.output_folder import unwritable

# Names at the top of a folder that metseg wrote: all else in it is the user's.
OwnNames = Callable[[Path], Collection[str]]


@contextmanager
def partial_folder(target: Path, own_names: OwnNames) -> Iterator[Path]:
    """A hidden folder beside ``target``, to be filled and published; it is gone when the block ends.

    Args:
        target: what it will be called.
        own_names: as for ``publish``; leftovers of killed processes are settled first.

    Raises:
        InputError: the folder above ``target`` cannot be made or written.
    """
    partial = _aside(target, "partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        settle_leftovers(target, own_names)
        partial.mkdir()
    except OSError as error:
        raise unwritable(target.parent, error) from error
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, target: Path, own_names: OwnNames) -> None:
    """Give a complete folder its name, once all of it is on the disk.

    One that has the name already gives way, and comes back if this fails.

    Args:
        partial: of ``partial_folder``.
        target: its name.
        own_names: whatever else is at the top of the older folder moves to the new one.
    """
    if not target.exists():
        publish_new(partial, target)
        return
    sync_tree(partial)
    old = _aside(target, "old")
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        old.rename(target)
        raise
    _retire(old, target, own_names)
    sync_folder(target.parent)


def publish_new(partial: Path, target: Path) -> None:
    """Give a complete folder a name that nothing has, once all of it is on the disk.

    Raises:
        OSError: something has the name (but an empty folder, which gives way), or the disk failed.
    """
    sync_tree(partial)
    partial.rename(target)
    sync_folder(target.parent)


def settle_leftovers(target: Path, own_names: OwnNames) -> None:
    """Tidy up after processes that were killed: half folders go, and one that had stepped aside comes back."""
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
            _retire(entry, target, own_names)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same folder waiting until the block ends, or this process does.

    For those who may write the same thing at once. A file system without locks lets them pass.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def passing_folder() -> Iterator[Path]:
    """An empty folder in the system's temporary folder that is gone when the block ends.

    What killed processes left of such folders goes first. A folder is left over if no process has the number in its
    name, or that is our own, and nobody holds its lock: also one in another container, or another thread.
    """
    for entry in sorted(Path(tempfile.gettempdir()).glob("metseg-*-*")):
        match = re.fullmatch(r"metseg-(\d+)-\w+", entry.name)
        if match and not _runs(int(match[1])):
            with suppress(OSError), _locked(entry):
                shutil.rmtree(entry, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"metseg-{os.getpid()}-") as name, ExitStack() as held:
        with suppress(OSError):
            held.enter_context(_locked(Path(name)))
        yield Path(name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of ours.

    Raises:
        OSError: another holds it, there are no locks there, or it is no folder that we may open.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


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


def _retire(old: Path, target: Path, own_names: OwnNames) -> None:
    """Delete a folder that was replaced; what the user kept in it moves to the new one."""
    ours = own_names(old)
    for entry in list(old.iterdir()):
        if entry.name not in ours and not (target / entry.name).exists():
            entry.rename(target / entry.name)
    shutil.rmtree(old, ignore_errors=True)
