"""What mirroring only in doubt (``--standard``) costs and saves, on an nnU-Net model trained for this.

``python bench/nnunet_gated.py DATA OUT [--steps 700] [--studies 16]`` needs torch, nnunetv2 (2.8.1 was used) and
metseg in one environment; DATA holds hosts as ``metseg synthesise --hosts`` takes them. A PlainConvUNet of four stages
is trained for N steps on scenes of 64³ (OUT keeps it; a second call uses it again) and written as nnU-Net does. Then
each mode segments whole stripped heads of 1 mm made from hosts that the training never saw. Printed are seconds and
windows of each mode, lesion-wise F1 and the lesions' Dice by the evaluator's profile ``field``, and the differences
from ``--thorough`` (all mirrorings, as nnU-Net) with bootstrap intervals over studies. ``bench/nnunet_speed.py
--results OUT/nnUNet_results --image OUT/head_0000.nii.gz --modes standard`` then times a whole run against nnU-Net.
"""

import argparse
import shutil
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from nnunet_agreement import ONE, Model, architecture, configuration, write
from torch.utils.data import DataLoader

from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.nnunet.window_network import WindowNetwork
from metseg.engines.nnunet_engine import NnunetEngine
from metseg.evaluate.field import FieldCase, FieldOptions, score_case
from metseg.io.nnunet_import import import_nnunet
from metseg.lesions.components import label_instances
from metseg.synthesis.hosts import find_hosts, read_hosts
from metseg.synthesis.scene import Scene, SceneOptions, make_scene
from metseg.training.recipe import Rate, Recipe
from metseg.training.scenes import SceneDataset

MODES = ("thorough", "standard", "fast")
HEAD = (160, 192, 160)


def teach(network: torch.nn.Module, data: Path, steps: int) -> None:
    """Train on scenes of 64³, two a step, each normalised by its own mean, by cross entropy and a little Dice.

    Nothing in them looks like a metastasis and is none: a small network learns that within minutes, and is then sure of
    most voxels, as networks are that were trained for days.
    """
    recipe = Recipe(seed=5, patch=64, batch=2, steps=steps, rates=(Rate(over=steps, highest=1e-3),), label_share=0.6,
                    made_share=0.1, stripped=1.0, uses=4, mimics=False)  # fmt: skip
    loader = DataLoader(SceneDataset(read_hosts(data), recipe), batch_size=2, num_workers=1, prefetch_factor=4)
    network.to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    fall = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    for step, (image, lesions, _) in enumerate(loader):
        truth = (lesions > 0).float()
        normal = (image - image.mean((2, 3, 4), keepdim=True)) / image.std((2, 3, 4), keepdim=True)
        logits = network(normal.contiguous(memory_format=torch.channels_last_3d))[0]
        margin = logits[:, 1] - logits[:, 0]
        share = margin.sigmoid()
        dice = 1 - (2 * (share * truth).sum() + 1) / (share.sum() + truth.sum() + 1)
        loss = 10 * torch.nn.functional.binary_cross_entropy_with_logits(margin, truth) + 0.5 * dice
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        fall.step()
        if step % 50 == 0:
            doubt = ((share > 0.02) & (share < 0.98)).float().mean().item()
            print(f"step {step}: Dice {1 - dice.item():.2f}, {doubt:.1%} of voxels in doubt", flush=True)


def train(data: Path, out: Path, steps: int) -> None:
    """A trained folder in OUT, unless there is one."""
    kernels, strides = [[3, 3, 3]] * 4, [[1, 1, 1], *[[2, 2, 2]] * 3]
    network = architecture("PlainConvUNet", kernels, strides, [2] * 4)
    network["arch_kwargs"]["features_per_stage"] = [8, 16, 32, 64]
    plan = configuration([1, 1, 1], [64] * 3, network, "ZScoreNormalization", 1, masked=True)
    model = Model("gated", {"3d_fullres": plan}, ("3d_fullres",), ONE, ("T1c",), (8, 8, 8), (1.0, 1.0, 1.0))
    aside = out / "nnUNet_results.partial"
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was stopped
    write(model, aside, teach=lambda made: teach(made, data, steps))
    aside.rename(out / "nnUNet_results")


def heads(data: Path, count: int) -> list[Scene]:
    """Whole stripped heads with metastases, from hosts held out of all training."""
    hosts = [file.read() for file in find_hosts(data, held_out=True)]
    scenes = []
    for number in range(count):
        rng = np.random.default_rng([271, number])
        scenes.append(make_scene(rng, hosts[number % len(hosts)], HEAD, SceneOptions(stripped=1.0, mimics=False)))
    return scenes


def count_passes() -> list[int]:
    """A list that grows by a 1 with each pass of a network."""
    passes: list[int] = []
    plain = WindowNetwork.logits

    def counted(self: WindowNetwork, image: np.ndarray) -> np.ndarray:
        passes.append(1)
        return plain(self, image)

    WindowNetwork.logits = counted  # type: ignore[method-assign]
    return passes


def scores(cases: list[FieldCase]) -> np.ndarray:
    """Lesion-wise F1, and mean Dice of the lesions (a missed one has 0), of each case: (case, 2)."""
    rows = []
    for case in cases:
        found, false = sum(n.found for n in case.lesions), sum(n.false for n in case.components)
        rows.append(
            (
                2 * found / (len(case.lesions) + found + false),
                np.mean([n.dice if n.found else 0.0 for n in case.lesions]),
            )
        )
    return np.array(rows)


def interval(differences: np.ndarray) -> str:
    """Mean and 95 % bootstrap interval over cases."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (4000, differences.size)).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{differences.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def compare(scenes: list[Scene], folder: Path) -> None:
    """Segment every head in every mode, print the table."""
    bundle = import_nnunet(folder / "nnUNet_results", folder / "bundle")
    passes, options = count_passes(), FieldOptions()
    seconds, counts, results = ({mode: [] for mode in MODES} for _ in range(3))
    for number, scene in enumerate(scenes):
        grid = Grid.isotropic(scene.image.shape)
        study = Study(str(number), {"t1c": Volume(scene.image, grid)})
        for mode in MODES:
            engine = NnunetEngine(bundle, mode=mode)
            passes.clear()
            start = time.perf_counter()
            decision = engine.predict(study).decision
            seconds[mode].append(time.perf_counter() - start)
            counts[mode].append(len(passes))
            found = label_instances(np.asarray(decision.array) > 0)
            results[mode].append(score_case(found, scene.truth.astype(np.uint16), (1.0, 1.0, 1.0), options))
    rows = {mode: scores(results[mode]) for mode in MODES}
    exact = rows["thorough"]
    print(f"{len(scenes)} heads, {sum(len(case.lesions) for case in results['thorough'])} lesions")
    print(
        "| mode | seconds a head | ratio | passes | F1 | Dice of lesions | F1 less thorough's | Dice less thorough's |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for mode in MODES:
        ratio = np.median(np.array(seconds["thorough"]) / np.array(seconds[mode]))
        cost = f"{np.median(seconds[mode]):.1f} | {ratio:.2f} | {np.mean(counts[mode]):.0f}"
        f1, dice = rows[mode].mean(axis=0)
        less = " | ".join(interval(column) for column in (rows[mode] - exact).T)
        print(f"| {mode} | {cost} | {f1:.3f} | {dice:.3f} | {less} |", flush=True)


def main() -> None:
    """Train unless it was done, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--studies", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(2)
    if not (given.out / "nnUNet_results").exists():
        train(given.data, given.out, given.steps)
    scenes = heads(given.data, given.studies)
    first = scenes[0].image
    nib.save(nib.Nifti1Image(first.astype(np.float32), np.eye(4)), given.out / "head_0000.nii.gz")
    compare(scenes, given.out)


if __name__ == "__main__":
    main()
