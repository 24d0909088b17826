"""What a choice of the training is worth: the same weights, trained on with one thing changed, judged on unseen scenes.

``python recipes/ablation.py DATA OUT --recipe recipes/mets-t1c.toml --start START.safetensors --steps 400``

Each variant goes on from the same weights for as many steps with the same seed. All are judged on the same scenes of
96³ from hosts never trained on (label maps and a real scan, in turn), by the evaluator's profile ``field``: sensitivity
by size where the FROC curve reaches one false component in two scenes, and the lesions' Dice at a threshold of 0.3.
A run that was stopped goes on. Prints the table as Markdown.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from metseg.engines.bundle import sha256_of
from metseg.evaluate.bootstrap import BootstrapOptions
from metseg.evaluate.field import FieldCase, FieldOptions, score_case, summarise
from metseg.evaluate.froc import FrocOptions
from metseg.networks.compact_unet import CompactUNet
from metseg.synthesis.hosts import find_hosts
from metseg.training.recipe import Rate, Recipe, read_recipe
from metseg.training.scenes import SceneDataset
from metseg.training.train import train

VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "one loss for the batch, not one a scene": {"by_scene": False},
    "nothing that looks like a metastasis": {"mimics": False},
    "label maps as hosts, no real scans": {"label_share": 0.94},
    "real scans as hosts, no label maps": {"label_share": 0.0, "made_share": 0.0},
    "no extra scenes of small lesions": {"small_share": 0.0},
}
THRESHOLD = 0.3
RATE = 0.5
OPTIONS = FieldOptions(
    confidence="percentile_95", froc=FrocOptions(rates=(RATE,)), bootstrap=BootstrapOptions(resamples=200)
)


def scenes(data: Path, recipe: Recipe, count: int) -> SceneDataset:
    """Scenes like those of the recipe, from hosts and with a seed that no variant trains on."""
    shares = {"seed": 999_983, "label_share": 0.75, "made_share": 0.0, "batch": 1, "steps": count, "mimics": True}
    hosts = [file.read() for file in find_hosts(data, held_out=True)]
    return SceneDataset(hosts, recipe.model_copy(update=shares))


def judge(network: CompactUNet, data: SceneDataset) -> list[FieldCase]:
    """The evaluator's verdict on each scene, at the threshold."""
    network.eval()
    cases = []
    for index in range(len(data)):
        image, truth, _ = data[index]
        with torch.no_grad():
            probability = network(image[None])[0, 0].sigmoid().numpy()
        cases.append(
            score_case(probability >= THRESHOLD, truth.numpy().astype(np.uint16), (1.0, 1.0, 1.0), OPTIONS, probability)
        )
    return cases


def _found(cases: list[FieldCase], least: float, low: float, high: float) -> str:
    lesions = [n for case in cases for n in case.lesions if low <= n.diameter_mm < high]
    found = sum((n.confidence or 0.0) >= least for n in lesions)
    return f"{found}/{len(lesions)}"


def row(name: str, cases: list[FieldCase]) -> str:
    """One line of the table."""
    summary = summarise([(str(n), case) for n, case in enumerate(cases)], OPTIONS)
    assert summary.froc is not None  # noqa: S101  every case has probabilities
    point = summary.froc.points[0]
    least = 0.0 if point.beyond_curve else (point.threshold or 1.0)
    dice = np.median([n.dice for case in cases for n in case.lesions if n.found and n.diameter_mm >= 5])
    sizes = " | ".join(_found(cases, least, *edges) for edges in ((0, 5), (5, 10), (10, 1000)))
    whole = point.sensitivity
    return f"| {name} | {whole.value:.2f} ({whole.low:.2f}-{whole.high:.2f}) | {sizes} | {dice:.2f} |"


def main() -> None:
    """Parse the command line, train each variant, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--scenes", type=int, default=60)
    given = parser.parse_args()
    base = read_recipe(given.recipe).model_copy(
        update={
            "start_sha256": sha256_of(given.start), "steps": given.steps, "seed": 77, "balanced_until": 0,
            "fix_norm_from": 0, "rates": (Rate(over=given.steps, highest=7e-4),), "warmup": 20,
        }
    )  # fmt: skip
    held_out = scenes(given.data, base, given.scenes)
    lines = [
        f"| trained on {given.steps} steps | sensitivity at 1 false in 2 scenes | < 5 mm | 5-10 mm | >= 10 mm | Dice |",
        "|---|---|---|---|---|---|",
    ]
    network = CompactUNet(outputs=base.outputs, widths=base.widths, norm=base.norm)
    network.load_state_dict(load_file(given.start))
    lines.append(row("not at all", judge(network, held_out)))
    for name, change in VARIANTS.items():
        run = given.out / name.replace(" ", "-").replace(",", "")
        train(base.model_copy(update=change), given.data, run, workers=1, start=given.start)
        network.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["averaged"])
        lines.append(row(name, judge(network, held_out)))
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
