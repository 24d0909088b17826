"""Result folders: whole or not at all, and nothing of the user's is lost."""

import hashlib
import json
import os
import subprocess

import pytest

from metseg.core.errors import InputError
from metseg.pipeline import folder as folders
from metseg.pipeline.folder import check_name, check_target, result_folder, settle_result
from metseg.pipeline.manifest import SCHEMA, read_manifest


def fill(folder, **files):
    """Write files and the manifest that names them."""
    for name, text in files.items():
        (folder / name).write_text(text)
    outputs = [{"name": n, "sha256": hashlib.sha256(t.encode()).hexdigest()} for n, t in files.items()]
    (folder / "run.json").write_text(json.dumps({"schema": SCHEMA, "outputs": outputs}))


def make(target, **files):
    with result_folder(target) as folder:
        fill(folder, **files)


def content(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "run.json"}


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def target(tmp_path):
    return tmp_path / "deep" / "out" / "case ü"


def test_a_folder_appears_whole(target):
    with result_folder(target) as folder:
        fill(folder, mask="1")
        assert not target.exists()
        assert folder.name == f".case ü.partial-{os.getpid()}"
    assert content(target) == {"mask": "1"}
    assert [entry.name for entry in target.parent.iterdir()] == ["case ü"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_it_fails_and_the_old_result_stays(target, error):
    def fail():
        with result_folder(target) as folder:
            fill(folder, mask="half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(target.parent.iterdir()) == []
    make(target, mask="1")
    with pytest.raises(error):
        fail()
    assert content(target) == {"mask": "1"}
    assert [entry.name for entry in target.parent.iterdir()] == ["case ü"]


def test_a_new_result_replaces_the_old_one_and_keeps_what_the_user_put_there(target):
    make(target, mask="1", table="1")
    (target / "my notes.txt").write_text("mine")
    (target / "sub").mkdir()
    (target / "sub" / "x").write_text("mine too")
    make(target, mask="2")
    assert (target / "mask").read_text() == "2"
    assert not (target / "table").exists()
    assert (target / "my notes.txt").read_text() == "mine"
    assert (target / "sub" / "x").read_text() == "mine too"
    assert [entry.name for entry in target.parent.iterdir()] == ["case ü"]


def test_a_rename_that_fails_brings_the_old_result_back(target, monkeypatch):
    make(target, mask="1")
    rename = folders.Path.rename

    def fail(self, to):
        if ".partial-" in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(folders.Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output"):
        make(target, mask="2")
    assert content(target) == {"mask": "1"}
    assert [entry.name for entry in target.parent.iterdir()] == ["case ü"]


def test_leftovers_of_dead_runs_go_and_of_live_ones_stay(target):
    make(target, mask="1")
    out = target.parent
    (out / f".case ü.partial-{dead_pid()}").mkdir()
    (out / f".case ü.partial-{os.getpid()}").mkdir()
    (out / ".case ü.partial-1").mkdir()
    (out / f".another.partial-{dead_pid()}").mkdir()
    (out / ".case ü.partial-mine").mkdir()
    settle_result(target)
    left = sorted(entry.name for entry in out.iterdir())
    assert len(left) == 4
    assert {"case ü", ".case ü.partial-1", ".case ü.partial-mine"} < set(left)


def test_a_result_that_had_stepped_aside_comes_back(target):
    make(target, mask="1")
    target.rename(target.with_name(f".case ü.old-{dead_pid()}"))
    settle_result(target)
    assert content(target) == {"mask": "1"}


def test_a_swap_killed_after_the_rename_is_finished(target):
    make(target, mask="1")
    (target / "notes").write_text("mine")
    target.rename(target.with_name(f".case ü.old-{dead_pid()}"))
    target.mkdir()
    fill(target, mask="2")
    settle_result(target)
    assert content(target) == {"mask": "2", "notes": "mine"}
    assert [entry.name for entry in target.parent.iterdir()] == ["case ü"]


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="out cannot be written"):
        make(tmp_path / "out" / "case", mask="1")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_output_folder_that_may_not_be_written_is_refused(target, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders.Path, "mkdir", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        make(target, mask="1")


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "x" * 201])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(InputError, match="cannot name a result folder"):
        check_name(name)


def test_names_with_spaces_and_umlauts_pass():
    check_name("Köpfe – Fall 1 [links]")


def test_a_folder_that_metseg_did_not_write_is_left_alone(target):
    target.mkdir(parents=True)
    check_target(target, {"mask"})
    (target / "scan.nii.gz").write_text("mine")
    with pytest.raises(InputError, match="metseg did not write"):
        check_target(target, {"mask"}, force=True)


def test_a_file_or_a_link_in_the_way_is_left_alone(target, tmp_path):
    target.parent.mkdir(parents=True)
    target.write_text("mine")
    with pytest.raises(InputError, match="is no folder"):
        check_target(target, {"mask"}, force=True)
    target.unlink()
    target.symlink_to(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        check_target(target, {"mask"}, force=True)


def test_a_foreign_file_with_the_name_of_an_output_is_left_alone(target):
    make(target, mask="1")
    (target / "table").write_text("mine")
    check_target(target, {"mask"})
    with pytest.raises(InputError, match="table stands where a result would go"):
        check_target(target, {"mask", "table"}, force=True)


def test_an_output_that_was_changed_since_is_replaced_only_by_force(target):
    make(target, mask="1")
    check_target(target, {"mask"})
    (target / "mask").write_text("corrected by hand")
    with pytest.raises(InputError, match="mask was changed since"):
        check_target(target, {"mask"})
    check_target(target, {"mask"}, force=True)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "metseg.run/1"}', '{"schema": "metseg.run/1", "outputs": [1]}']
)
def test_a_manifest_that_is_none_of_ours_counts_as_none(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "nowhere") is None
