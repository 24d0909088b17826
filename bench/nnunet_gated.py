"""What mirroring only in doubt (``--standard``) costs and saves, on an nnU-Net model trained for this.

``python bench/nnunet_gated.py OUT [--steps 400] [--studies 12] [--hosts DATA]`` needs torch, nnunetv2 (2.8.1 was used)
and metseg in one environment. A PlainConvUNet of four stages is trained for N steps on patches of 64³ (OUT keeps it; a
second call uses it again) and written as nnU-Net does: on brains of smooth noise that hold brighter blobs, faint ones
too, which a small network learns within minutes. With ``--hosts`` (a folder as ``metseg synthesise`` takes it), on
heads with metastases instead, which wants many thousands of steps: until then everything is in doubt. Then each mode
segments whole brains of 1 mm that the training never saw. Printed are seconds and passes of each mode, lesion-wise F1
and the lesions' Dice by the evaluator's profile ``field``, and the differences from ``--thorough`` (all mirrorings, as
nnU-Net) with bootstrap intervals over brains. ``bench/nnunet_speed.py --results OUT/nnUNet_results --image
OUT/brain_0000.nii.gz --modes standard`` then times a whole run against nnU-Net.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from nnunet_agreement import ONE, Model, architecture, configuration, write
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.nnunet.window_network import WindowNetwork
from metseg.engines.nnunet_engine import NnunetEngine
from metseg.evaluate.field import FieldCase, FieldOptions, score_case
from metseg.io.nnunet_import import import_nnunet
from metseg.lesions.components import label_instances
from metseg.synthesis.hosts import Host, find_hosts, read_hosts
from metseg.synthesis.scene import SceneOptions, make_scene

MODES = ("thorough", "standard", "fast")
BRAIN = (160, 192, 160)
_BRAINS = 272  # seed; 271 made those on which the rules of metseg.engines.nnunet.look_again were chosen
Drawn = tuple[np.ndarray, np.ndarray]  # image and lesion numbers, both (i, j, k)


def blobs(rng: np.random.Generator, shape: tuple[int, ...]) -> Drawn:
    """An ellipsoid of smooth noise, as large as the shape, or larger where that is a patch, with brighter blobs."""
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(np.float32)
    column = (slice(None), None, None, None)
    middle = np.array(shape)[column] / 2 if shape == BRAIN else rng.uniform(-10, 74, 3)[column]
    brain = (((places - middle) / (np.array(BRAIN)[column] * 0.46)) ** 2).sum(axis=0) < 1
    noise = gaussian_filter(rng.normal(size=shape), 1)
    image, truth = 300 + 30 * noise / noise.std(), np.zeros(shape, np.uint8)
    inside = np.argwhere(brain)
    for number in range(1, 1 + (rng.integers(3, 9) if shape == BRAIN else rng.integers(0, 4))):
        centre = inside[rng.integers(len(inside))] if len(inside) else np.zeros(3)
        blob = ((places - centre[column]) ** 2).sum(axis=0) < np.exp(rng.uniform(np.log(1.5), np.log(8))) ** 2
        blob &= brain & (truth == 0)
        truth[blob] = number
        image[blob] += np.exp(rng.uniform(np.log(30), np.log(200)))
    return np.where(brain, image, 0).astype(np.float32), truth


def heads(rng: np.random.Generator, host: Host, shape: tuple[int, ...]) -> Drawn:
    """A stripped head, or a piece of one, with metastases."""
    scene = make_scene(rng, host, shape, SceneOptions(stripped=1.0))
    return scene.image, scene.truth


class Patches(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Patches of 64³, each drawn by its number."""

    def __init__(self, draw: Callable[[np.random.Generator, tuple[int, ...]], Drawn], count: int) -> None:
        self.draw, self.count = draw, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, truth = self.draw(np.random.default_rng([5, number]), (64, 64, 64))
        spread = max(float(image.std()), 1e-3)
        return torch.from_numpy((image - image.mean()) / spread)[None], torch.from_numpy(truth > 0).float()[None]


def teach(network: torch.nn.Module, patches: Patches) -> None:
    """Train on two patches a step, by cross entropy and a little Dice."""
    steps = len(patches) // 2
    network.to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    fall = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps)
    for step, (image, truth) in enumerate(DataLoader(patches, batch_size=2, num_workers=1, prefetch_factor=4)):
        logits = network(image.contiguous(memory_format=torch.channels_last_3d))[0]
        margin = logits[:, 1:] - logits[:, :1]
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


def train(patches: Patches, out: Path) -> None:
    """A trained folder in OUT."""
    kernels, strides = [[3, 3, 3]] * 4, [[1, 1, 1], *[[2, 2, 2]] * 3]
    network = architecture("PlainConvUNet", kernels, strides, [2] * 4)
    network["arch_kwargs"]["features_per_stage"] = [8, 16, 32, 64]
    plan = configuration([1, 1, 1], [64] * 3, network, "ZScoreNormalization", 1, masked=True)
    model = Model("gated", {"3d_fullres": plan}, ("3d_fullres",), ONE, ("T1c",), (8, 8, 8), (1.0, 1.0, 1.0))
    aside = out / "nnUNet_results.partial"
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was stopped
    write(model, aside, teach=lambda made: teach(made, patches))
    aside.rename(out / "nnUNet_results")


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


def compare(brains: list[Drawn], folder: Path) -> None:
    """Segment every brain in every mode, print the table."""
    bundle = import_nnunet(folder / "nnUNet_results", folder / "bundle")
    passes, options = count_passes(), FieldOptions()
    seconds, counts, results = ({mode: [] for mode in MODES} for _ in range(3))
    for number, (image, truth) in enumerate(brains):
        study = Study(str(number), {"t1c": Volume(image, Grid.isotropic(image.shape))})
        for mode in MODES:
            engine = NnunetEngine(bundle, mode=mode)
            passes.clear()
            start = time.perf_counter()
            decision = engine.predict(study).decision
            seconds[mode].append(time.perf_counter() - start)
            counts[mode].append(len(passes))
            found = label_instances(np.asarray(decision.array) > 0)
            results[mode].append(score_case(found, truth.astype(np.uint16), (1.0, 1.0, 1.0), options))
    rows = {mode: scores(results[mode]) for mode in MODES}
    print(f"{len(brains)} brains, {sum(len(case.lesions) for case in results['thorough'])} lesions")
    print(
        "| mode | seconds a brain | ratio | passes | F1 | Dice of lesions | F1 less thorough's | Dice less thorough's |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for mode in MODES:
        ratio = np.median(np.array(seconds["thorough"]) / np.array(seconds[mode]))
        cost = f"{np.median(seconds[mode]):.1f} | {ratio:.2f} | {np.mean(counts[mode]):.0f}"
        f1, dice = rows[mode].mean(axis=0)
        less = " | ".join(interval(column) for column in (rows[mode] - rows["thorough"]).T)
        print(f"| {mode} | {cost} | {f1:.3f} | {dice:.3f} | {less} |", flush=True)


def main() -> None:
    """Train unless it was done, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--studies", type=int, default=12)
    parser.add_argument("--hosts", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(2)
    if not (given.out / "nnUNet_results").exists():
        seen = read_hosts(given.hosts) if given.hosts else []
        train(Patches(partial(drawn, seen), 2 * given.steps), given.out)
    unseen = [file.read() for file in find_hosts(given.hosts, held_out=True)] if given.hosts else []
    brains = [drawn(unseen, np.random.default_rng([_BRAINS, number]), BRAIN) for number in range(given.studies)]
    nib.save(nib.Nifti1Image(brains[0][0], np.eye(4)), given.out / "brain_0000.nii.gz")
    compare(brains, given.out)


def drawn(hosts: list[Host], rng: np.random.Generator, shape: tuple[int, ...]) -> Drawn:
    """A head from one of the hosts, or blobs where there are none."""
    return heads(rng, hosts[rng.integers(len(hosts))], shape) if hosts else blobs(rng, shape)


if __name__ == "__main__":
    main()
