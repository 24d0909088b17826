"""Imports of models that are killed, or that run at the same time, leave whole bundles and nothing else."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from end_to_end.test_nnunet_export import zipped
from end_to_end.test_nnunet_models import NETWORK, put
from metseg.core.errors import ModelError
from metseg.engines.bundle import read_bundle
from metseg.io.nnunet_import import Wishes, import_model, import_nnunet
from nnunet_oracle import make_weights
from torch_files import save

# Imports, and at one place says so in a file and waits until another file is there, or for ever.
IMPORTING = """
import sys, time
from pathlib import Path
from metseg.io import nnunet_import

source, target, where, flag, go_on = sys.argv[1:]
rename = Path.rename

def wait():
    Path(flag).touch()
    deadline = time.monotonic() + 300
    while not Path(go_on).exists() and time.monotonic() < deadline:
        time.sleep(0.05)

def wait_before(called):
    def waiting(*arguments, **more):
        wait()
        return called(*arguments, **more)
    return waiting

def wait_between(self, to):
    if ".partial-" in self.name and where == "between":
        wait()
    rename(self, to)
    if ".partial-" in self.name and where == "after":
        wait()

if where == "while":
    nnunet_import.write_manifest = wait_before(nnunet_import.write_manifest)
if where == "written":  # the lock is asked for twice; the second time all is written
    locks = iter((nnunet_import.alone_in, wait_before(nnunet_import.alone_in)))
    nnunet_import.alone_in = lambda folder: next(locks)(folder)
Path.rename = wait_between
if where == "unpacked":
    nnunet_import.import_nnunet = wait_before(nnunet_import.import_nnunet)
wishes = nnunet_import.Wishes(name=Path(target).name)
print(nnunet_import.import_model(Path(source), Path(target).parent, wishes, replace=True).sha256)
"""


def start(tmp_path, results, where, number=0):
    """A process that imports and has come to ``where``; its temporary folder is ``tmp_path``'s own."""
    (tmp_path / "room").mkdir(exist_ok=True)
    room = {**os.environ, "TMPDIR": str(tmp_path / "room")}
    script, flag = tmp_path / "importing.py", tmp_path / f"waiting-{number}"
    script.write_text(IMPORTING)
    target, go_on = tmp_path / "models" / "mets", tmp_path / "go on"
    arguments = [str(each) for each in (results, target, where, flag, go_on)]
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=room
    )
    deadline = time.monotonic() + 200
    while not flag.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it never got there: {process.communicate()[1]}")
        time.sleep(0.05)
    return process


@pytest.fixture
def results(tmp_path):
    put(tmp_path / "nnUNet_results", folds=1)
    return tmp_path / "nnUNet_results"


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "models").iterdir())


def change(results):
    """Another training of the same model."""
    (path,) = results.rglob("checkpoint_final.pth")
    save(path, {"network_weights": make_weights(NETWORK, 9)})


def test_an_import_that_is_killed_is_tidied_up_by_the_next(results, tmp_path):
    process = start(tmp_path, results, "while")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left(tmp_path) == [f".mets.partial-{process.pid}"]
    import_nnunet(results, tmp_path / "models" / "mets")
    assert left(tmp_path) == ["mets"]


@pytest.mark.parametrize(
    ("where", "names"), [("between", [".mets.old-{}", ".mets.partial-{}"]), ("after", [".mets.old-{}", "mets"])]
)
def test_a_replacement_that_is_killed_leaves_the_old_bundle_or_the_new_one(results, tmp_path, where, names):
    target = tmp_path / "models" / "mets"
    old = import_nnunet(results, target, Wishes(licence="CC0-1.0"))
    (target / "notes.txt").write_text("mine")
    change(results)
    process = start(tmp_path, results, where)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left(tmp_path) == [name.format(process.pid) for name in names]
    if where == "between":
        with pytest.raises(ModelError, match="came of other files or options"):
            import_nnunet(results, target)
        assert read_bundle(target).sha256 == old.sha256  # it is back
    new = import_nnunet(results, target, replace=True)
    assert new.sha256 == read_bundle(target).sha256 != old.sha256
    assert left(tmp_path) == ["mets"]
    assert (target / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("replacing", [False, True])
def test_two_imports_at_once_both_succeed(results, tmp_path, replacing):
    target = tmp_path / "models" / "mets"
    if replacing:
        import_nnunet(results, target)
        change(results)
    processes = [start(tmp_path, results, "written", number) for number in range(2)]
    assert len([name for name in left(tmp_path) if ".partial-" in name]) == 2
    (tmp_path / "go on").touch()
    told = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert {out.strip() for out, _ in told} == {read_bundle(target).sha256}
    assert left(tmp_path) == ["mets"]
    kept = json.loads((target / "nnunet" / "source.json").read_text())
    assert set(kept["stages"]) == {"3d_fullres"}


def test_what_was_unpacked_for_an_import_that_was_killed_goes_and_for_a_live_one_stays(results, tmp_path, monkeypatch):
    path = zipped(results, tmp_path / "models.zip")
    killed, alive = (start(tmp_path, path, "unpacked", number) for number in range(2))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    room = tmp_path / "room"
    assert sorted(int(folder.name.split("-")[1]) for folder in room.iterdir()) == sorted([killed.pid, alive.pid])
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    bundle = import_model(path, tmp_path / "models", Wishes(name="mets"))
    (folder,) = room.iterdir()
    assert folder.name.startswith(f"metseg-{alive.pid}-")
    assert len(list(folder.rglob("checkpoint_final.pth"))) == 1
    (tmp_path / "go on").touch()
    out, err = alive.communicate()
    assert (alive.returncode, out.strip()) == (0, bundle.sha256), err
    assert list(room.iterdir()) == []
    assert left(tmp_path) == ["mets"]
