"""Processes that train: what they are given, what they tell, and how they end. Real ones, of a few lines each."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import metseg
from metseg.core.errors import ConfigError, InputError, MetsegError, MissingExtraError
from metseg.training.nnunet import process
from metseg.training.nnunet.messages import plain_error, read_line, told_error
from metseg.training.nnunet.process import child_environment, last_lines, require_nnunet, run_child

BEGIN = """
import json, os, sys, time
job = json.loads(sys.stdin.readline())
def say(kind, **content):
    print(json.dumps({"kind": kind, **content}), flush=True)
"""


@pytest.fixture
def run(tmp_path):
    """Runs a child that does what a few lines say."""
    heard = []

    def start(lines, **job):
        script = tmp_path / "child.py"
        script.write_text(BEGIN + lines)
        log, command = tmp_path / "logs" / "child.txt", (sys.executable, str(script))
        return run_child(
            job, os.environ, log, lambda kind, content: heard.append((kind, content)), doing="training it",
            command=command,
        )  # fmt: skip

    start.heard = heard
    start.log = tmp_path / "logs" / "child.txt"
    return start


def test_a_child_gets_its_job_and_its_result_comes_back(run):
    lines = 'say("epoch", epoch=1)\nprint("as it is", file=sys.stderr)\nsay("result", twice=2 * job["number"])'
    assert run(lines, number=21) == {"twice": 42}
    assert run.heard == [("epoch", {"epoch": 1})]
    assert run.log.read_text() == "as it is\n"
    run(lines, number=1)
    assert run.log.read_text() == "as it is\n" * 2  # added to


def test_an_error_that_a_child_names_is_raised_as_that(run):
    with pytest.raises(InputError) as error:
        run('say("error", error="InputError", message="No room.", hint="Make some.")\nsys.exit(1)')
    assert (error.value.message, error.value.hint) == ("No room.", "Make some.")


def test_a_child_that_fails_is_told_of_with_its_last_lines(run):
    with pytest.raises(MetsegError) as error:
        run('print("before", file=sys.stderr)\nraise RuntimeError("quite unexpected")')
    assert error.value.message == "nnU-Net ended with exit code 1 while training it, without a result."
    assert error.value.hint.endswith("RuntimeError: quite unexpected")
    assert "child.txt" in error.value.hint


def test_a_child_that_is_killed_is_never_a_success(run):
    with pytest.raises(MetsegError) as error:
        run('print("epoch 7", file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)')
    assert "was ended by SIGKILL while training it" in error.value.message
    assert "Memory ran out" in error.value.hint
    assert error.value.hint.endswith("epoch 7")


def test_a_result_before_a_bad_end_does_not_count(run):
    with pytest.raises(MetsegError, match="exit code 3"):
        run('say("result", fine=True)\nsys.exit(3)')


def test_a_child_that_ends_well_without_a_result_is_no_success(run):
    with pytest.raises(MetsegError, match="exit code 0 while training it, without a result"):
        run("pass")


def test_what_a_killed_child_leaves_behind_ends_too(run, tmp_path):
    """Processes of its own hold its stdout open: nobody waits for them."""
    lines = f"""
import subprocess
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "left")!r}, "w").write(str(left.pid))
os.kill(os.getpid(), 9)
"""
    with pytest.raises(MetsegError, match="SIGKILL"):
        run(lines)
    assert not runs(int((tmp_path / "left").read_text()))


def test_a_child_does_not_outlive_an_interrupted_parent(run, tmp_path):
    def interrupt(kind, _content):
        assert kind == "progress"
        raise KeyboardInterrupt

    script = tmp_path / "long.py"
    script.write_text(
        BEGIN + f'open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))\nsay("progress")\ntime.sleep(600)\n'
    )
    with pytest.raises(KeyboardInterrupt):
        run_child({}, os.environ, run.log, interrupt, doing="it", command=(sys.executable, str(script)))
    assert not runs(int((tmp_path / "pid").read_text()))


def test_words_that_are_no_message_end_the_child(run):
    with pytest.raises(MetsegError, match="cannot be understood"):
        run('print("hello", flush=True)\ntime.sleep(600)')


def runs(pid):
    """Whether a process is alive, after it had time to be gone."""
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return False
        time.sleep(0.05)
    return True


def test_the_environment_is_the_users_but_for_nnunets_own(monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_raw", "/the/users/own")
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    monkeypatch.setenv("SOMETHING", "else")
    monkeypatch.setenv("PYTHONPATH", f"relative{os.pathsep}{tmp_path}")
    found = child_environment(tmp_path / "run", processes=3, augmenters=0, threads=2)
    assert found["nnUNet_raw"] == str(tmp_path / "run" / "nnUNet_raw")
    assert found["nnUNet_results"] == str(tmp_path / "run" / "nnUNet_results")
    assert (found["nnUNet_def_n_proc"], found["nnUNet_n_proc_DA"], found["OMP_NUM_THREADS"]) == ("3", "0", "2")
    assert "nnUNet_wandb_enabled" not in found
    assert found["SOMETHING"] == "else"
    package = str(Path(metseg.__file__).resolve().parents[1])
    assert found["PYTHONPATH"].split(os.pathsep) == [package, str(Path("relative").resolve()), str(tmp_path)]
    assert os.environ["nnUNet_raw"] == "/the/users/own"  # noqa: SIM112  its name


def test_metsegs_networks_can_be_imported_in_a_child(tmp_path):
    environment = child_environment(tmp_path, processes=1, augmenters=1, threads=0)
    code = "import metseg; print(metseg.__file__)"
    told = subprocess.run([sys.executable, "-P", "-c", code], env=environment, cwd=tmp_path, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert Path(told.stdout.strip()).resolve() == Path(metseg.__file__).resolve()


def test_without_nnunet_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(process, "find_spec", lambda name: None if name == "nnunetv2" else object())
    with pytest.raises(MissingExtraError, match="Training needs nnunetv2") as error:
        require_nnunet()
    assert "pip install 'metseg[train]'" in error.value.hint


def test_errors_keep_their_class_on_the_way():
    error = told_error(read_line('{"kind": "error", "error": "ConfigError", "message": "m", "hint": "h"}')[1])
    assert (type(error), error.message, error.hint) == (ConfigError, "m", "h")
    assert plain_error(error) == {"error": "ConfigError", "message": "m", "hint": "h"}
    assert type(told_error({"error": "Final", "message": "m"})) is MetsegError


def test_a_torchvision_that_does_not_fit_is_named_with_its_remedy(run):
    with pytest.raises(MetsegError) as error:
        run('raise RuntimeError("operator torchvision::nms does not exist")')
    assert error.value.hint.startswith("torchvision was built for another torch; nnU-Net does without: pip uninstall")


def test_last_lines_are_those_that_hold_something(tmp_path):
    (tmp_path / "log").write_text("one\n\ntwo  \n\n")
    assert last_lines(tmp_path / "log", 2) == "one\ntwo"
    assert last_lines(tmp_path / "log", 1) == "two"


def test_signals_have_names():
    assert process._signal_name(signal.SIGTERM) == "SIGTERM"
    assert process._signal_name(250) == "signal 250"
