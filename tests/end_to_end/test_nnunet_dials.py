"""``metseg train`` with losses, sampling and networks other than nnU-Net's own, and with several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (the train extra)")

import metseg  # noqa: E402
from end_to_end.test_nnunet_training import COMMAND, TINY, checkpoint, read  # noqa: E402
from metseg.training.nnunet.curves import read_log  # noqa: E402
from metseg.training.nnunet.process import child_environment  # noqa: E402
from metseg.training.nnunet.recipe import NnunetRecipe  # noqa: E402
from metseg.training.nnunet.run import train_model  # noqa: E402
from nnunet_raw import make_raw  # noqa: E402
from unit.test_nnunet_process import runs  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TOGETHER = {**TINY, "gpus": 2, "loss": "blob", "sampling": "lesion"}
# One step of learning and one of validation by nnU-Net's trainer, with each loss, of data that are prepared.
STEPS = """
import json, sys
from pathlib import Path
import numpy as np, torch
from metseg.training.nnunet.recipe import NnunetRecipe
from metseg.training.nnunet.trainer import Trainer

job = json.loads(sys.stdin.read())
plans = json.loads(Path(job["plans"]).read_text())
told = []
for loss in job["losses"]:
    recipe = NnunetRecipe.model_validate({**job["recipe"], "loss": loss})
    trainer = Trainer(plans={**plans, "continue_training": False}, configuration="3d_fullres", fold=0,
                      dataset_json=job["dataset"], device=torch.device("cpu"))
    trainer.take(recipe, lambda *_, **__: None, "it", tuple(job["lesion"]))
    trainer.seed(0)
    trainer.oversample_foreground_percent = 1.0  # what was prepared does not say where somebody looked
    trainer.on_train_start()
    before = [one.detach().clone() for one in trainer.network.parameters()]
    trainer.network.train()
    step = trainer.train_step(next(trainer.dataloader_train))
    moved = sum(float((a - b).abs().sum()) for a, b in zip(before, trainer.network.parameters()))
    trainer.network.eval()
    with torch.no_grad():
        seen = trainer.validation_step(next(trainer.dataloader_val))
    told.append({"loss": float(step["loss"]), "validation": float(seen["loss"]), "moved": moved,
                 "found": seen["found"], "lesions": seen["lesions"]})
Path(job["answer"]).write_text(json.dumps(told))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("dials")


@pytest.fixture(scope="module")
def data(place):
    return make_raw(place / "Dataset901_Tiny")


@pytest.fixture(scope="module")
def together(data, place):
    """A training by two processes on the CPU that nobody disturbed."""
    return train_model(NnunetRecipe.model_validate({"data": data, "out": place / "together", **TOGETHER}))


LABELS = {"background": 0, "tumour": 1, "oedema": 2}
REGIONS = {"background": 0, "whole": [1, 2], "tumour": 1}
IGNORED = {"background": 0, "tumour": 1, "ignore": 2}
SOME_REGIONS = {"background": 0, "whole": [1, 2], "tumour": [1], "ignore": 3}


@pytest.mark.parametrize(
    ("labels", "lesion"),
    [(LABELS, [1]), (REGIONS, [1]), (IGNORED, [1]), (SOME_REGIONS, [1])],
    ids=["labels", "regions", "ignored", "regions-ignored"],
)
def test_nnunets_trainer_learns_by_each_loss(together, data, place, tmp_path, labels, lesion):
    prepared = place / "together" / "nnUNet_preprocessed" / "Dataset901_Tiny"
    dataset = json.loads((prepared / "dataset.json").read_text())
    dataset = {**dataset, "labels": labels, "regions_class_order": [2, 1]}
    losses = ["dice+ce", "dice+focal", "tversky", "unified-focal", "blob", "size-weighted-dice"]
    given = {"data": str(data), "out": str(tmp_path), **TINY, "sampling": "lesion"}
    job = {"plans": str(prepared / "nnUNetPlans.json"), "dataset": dataset, "losses": losses, "lesion": lesion,
           "recipe": given, "answer": str(tmp_path / "answer.json")}  # fmt: skip
    environment = child_environment(place / "together", processes=1, augmenters=0, threads=1)
    environment["nnUNet_results"] = str(tmp_path)
    command = (sys.executable, "-c", STEPS)
    subprocess.run(command, input=json.dumps(job), env=environment, text=True, check=True, capture_output=True)
    told = json.loads((tmp_path / "answer.json").read_text())
    assert all(np.isfinite([one["loss"], one["validation"]]).all() and one["moved"] > 0 for one in told)
    assert len({one["loss"] for one in told}) == len(losses)
    assert all(0 <= one["lesions"] <= 2 for one in told)  # of two patches
    assert any(one["lesions"] for one in told)
    assert all(0 <= one["found"] <= one["lesions"] for one in told)


def test_two_processes_train_one_network(together, place):
    network = together.networks["3d_fullres, fold 0"]
    assert (network["epochs"], network["stopped"], network["studies"]) == (3, "epochs", 3)
    folder = checkpoint(place / "together").parent
    log = read_log(folder)
    assert log["epoch"] == [1, 2, 3]
    assert all(np.isfinite(log["train_loss"]))
    assert all(0 <= value <= 1 for value in log["lesion_sensitivity"] if not np.isnan(value))
    printed = (place / "together" / "logs" / "training-3d_fullres-fold-0.txt").read_text()
    assert {f"worker {rank} batch_size 1" in printed for rank in (0, 1)} == {True}
    assert not list(folder.glob("*.part"))


def test_the_course_can_be_seen_in_tensorboard(together, place):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    folder = checkpoint(place / "together").parent
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    shown = [(one.step, one.value) for one in events.Scalars("train_loss")]
    assert [step for step, _ in shown] == [1, 2, 3]
    assert [value for _, value in shown] == pytest.approx(read_log(folder)["train_loss"], rel=1e-6)


def test_one_that_dies_ends_the_other_and_the_run_goes_on_as_if_it_had_not(together, data, place):
    again = place / "again"
    lines = [f'data = "{data}"', f'out = "{again}"']
    (place / "again.toml").write_text("\n".join([*lines, *(f"{k} = {json.dumps(v)}" for k, v in TOGETHER.items())]))
    environment = {**os.environ, "PYTHONPATH": str(Path(metseg.__file__).parents[1])}
    command = [*COMMAND, str(place / "again.toml")]
    running = subprocess.Popen([*command, "-q"], env=environment, stderr=subprocess.PIPE, text=True)
    latest = checkpoint(again).with_name("checkpoint_latest.pth")
    while not latest.exists():
        assert running.poll() is None
        time.sleep(0.05)
    (launcher,) = children(running.pid)
    both = [pid for pid in children(launcher) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(both) == 2
    os.kill(both[1], signal.SIGKILL)
    _, said = running.communicate(timeout=120)
    assert running.returncode != 0
    assert "One of the 2 processes that train together ended with signal 9" in " ".join(said.split())
    assert not any(runs(pid) for pid in (launcher, *both))
    assert not checkpoint(again).exists()
    subprocess.run([*command, "--json"], env=environment, capture_output=True, check=True)
    weights, expected = (read(checkpoint(out))["network_weights"] for out in (again, place / "together"))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    losses = [read_log(checkpoint(out).parent)["train_loss"] for out in (again, place / "together")]
    assert losses[0] == losses[1]


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_residual_network_that_gets_no_better_stops(data, place):
    dials = {"network": "resenc-m", "epochs": 40, "iterations": 1, "patience": 1}
    trained = train_model(NnunetRecipe.model_validate({"data": data, "out": place / "residual", **TINY, **dials}))
    network = trained.networks["3d_fullres, fold 0"]
    means = read_log(checkpoint(place / "residual", plans="nnUNetResEncUNetMPlans").parent)["pseudo_dice_mean"]
    assert network["stopped"] == "patience"
    assert network["epochs"] == len(means) == int(np.nanargmax(means)) + 2 < 40
    assert any("it got no better" in line for line in trained.bundle.manifest.training_data)
    (stage,) = trained.bundle.manifest.nnunet.stages
    assert stage.network.encoder == "residual"
