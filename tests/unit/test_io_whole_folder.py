"""Folders that appear whole: all of them on the disk first; and temporary ones, which no kill leaves for long."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from metseg.io.whole_folder import partial_folder, passing_folder, publish


@pytest.fixture
def room(tmp_path, monkeypatch):
    folder = tmp_path / "room"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("replacing", [False, True])
def test_all_of_a_folder_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch, replacing):
    synced, at_rename = set(), {}
    fsync, rename = os.fsync, Path.rename

    def told(handle):
        fsync(handle)
        synced.add(os.fstat(handle).st_ino)

    def renamed(self, to):
        at_rename[self.name.split(".")[2].partition("-")[0]] = set(synced)
        return rename(self, to)

    target = tmp_path / "bundle"
    if replacing:
        target.mkdir()
    with partial_folder(target, lambda _: ()) as partial:
        (partial / "weights" / "deep").mkdir(parents=True)
        for name in ("model.json", "weights/a", "weights/deep/b", "weights/deep/empty"):
            (partial / name).write_bytes(b"x" * (name[-1] != "y"))
        everything = {path.stat().st_ino for path in (partial, *partial.rglob("*"))}
        monkeypatch.setattr(os, "fsync", told)
        monkeypatch.setattr(
            Path, "rename", lambda self, to: renamed(self, to) if "partial" in self.name else rename(self, to)
        )
        publish(partial, target, lambda _: ())
    assert len(everything) == 7
    assert at_rename["partial"] == everything
    assert synced == {*everything, tmp_path.stat().st_ino}  # and its name, afterwards
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_a_disk_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").touch()

    def failing(_handle):
        raise OSError(5, "Input/output error")

    with partial_folder(target, lambda _: ()) as partial:
        (partial / "new").touch()
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output"):
            publish(partial, target, lambda _: ())
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["bundle", "bundle/old"]


def test_temporary_folders_of_dead_processes_go_and_those_of_live_ones_stay(room, dead):
    living = os.getppid()
    stay = [f"metseg-{living}-abc_12", "metseg-notes-1", "metseg-1x-a", f"other-{dead}-abc"]
    for name in (f"metseg-{dead}-abc_12", f"metseg-{os.getpid()}-before", *stay):
        (room / name / "inner").mkdir(parents=True)
        (room / name / "inner" / "weights").write_text("x")
    (room / f"metseg-{dead}-link").symlink_to(room / stay[-1])
    (room / f"metseg-{dead}-file").write_text("mine")
    with passing_folder() as mine, passing_folder() as second:  # the second does not take the first for left over
        assert mine.parent == second.parent == room
        assert list(mine.iterdir()) == list(second.iterdir()) == []
        assert mine.is_dir()
        own = {mine.name, second.name}
        kept = {*stay, f"metseg-{dead}-link", f"metseg-{dead}-file"}
        assert {path.name for path in room.iterdir()} == {*own, *kept}
    assert {path.name for path in room.iterdir()} == kept
    assert all((room / name / "inner" / "weights").read_text() == "x" for name in stay)


def test_a_temporary_folder_whose_lock_is_held_stays_whatever_its_number(room, dead):
    """As that of a process in another container, whose number says nothing here."""
    folder = room / f"metseg-{dead}-abc"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with passing_folder():
        assert folder.is_dir()
    os.close(handle)
    with passing_folder():
        assert not folder.exists()


def test_a_temporary_folder_is_gone_after_an_error(room):
    def failing():
        with passing_folder() as folder:
            (folder / "weights").touch()
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert list(room.iterdir()) == []
