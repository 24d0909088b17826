"""Runs that are killed or asked to stop leave nothing half-written."""

import signal
import subprocess
import sys
import time

import pytest

from end_to_end.cases import hashes, run

# A metseg whose engine, or whose writing of tables, waits for ever; what waits says so in a file first.
HANGING = """
import sys, time
from pathlib import Path
from metseg.cli.main import app
from metseg.engines import registry
from metseg.engines.threshold_engine import ThresholdEngine
from metseg.pipeline import outputs

where, flag = sys.argv[1], Path(sys.argv[2])

def hang(*_, **__):
    flag.touch()
    time.sleep(120)

class Slow(ThresholdEngine):
    def predict(self, study, **more):
        return hang()

if where == "predict":
    registry.load_engine = lambda *_, **__: Slow()
else:
    outputs.write_lesions_csv = hang
app(sys.argv[3:])
"""


def hang_in(where, tmp_path, scan, out):
    script, flag = tmp_path / "hanging.py", tmp_path / "waiting"
    script.write_text(HANGING)
    arguments = ["segment", str(scan), "-o", str(out), "--engine", "threshold", "--formats", "nifti,csv", "--force"]
    process = subprocess.Popen(
        [sys.executable, str(script), where, str(flag), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 90
    while not flag.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it never got there: {process.communicate()[1].decode()}")
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("where", ["predict", "write"])
def test_a_killed_run_leaves_the_old_result_whole_and_the_next_run_tidies_up(where, tmp_path, scan, out, engine):
    run(scan, out, engine)
    before = hashes(out / "Köpfe 1")
    process = hang_in(where, tmp_path, scan, out)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert hashes(out / "Köpfe 1") == before
    half = [f".Köpfe 1.partial-{process.pid}"] if where == "write" else []
    assert sorted(path.name for path in out.iterdir()) == [*half, "Köpfe 1"]
    assert run(scan, out, engine).state == "skipped"
    assert [path.name for path in out.iterdir()] == ["Köpfe 1"]


@pytest.mark.parametrize("studies", [1, 3])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_asked_to_stop_tidies_up_itself(number, code, studies, tmp_path, scan, out):
    for n in range(1, studies):
        (scan.parent / f"{n}.nii.gz").write_bytes(scan.read_bytes())
    process = hang_in("write", tmp_path, scan.parent, out)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert b"Traceback" not in errors
    assert list(out.iterdir()) == []
    assert scan.exists()
