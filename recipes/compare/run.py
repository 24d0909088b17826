"""Compare networks: synthesise, train each on the same budget, segment, evaluate, and write one table.

``python recipes/compare/run.py OUT --minutes 30 | --epochs 20 [--hosts DATA] [--only NAME …]``

Everything is done by metseg's own commands, which are printed as they are run, so that each can be run by hand. A run
that was stopped goes on: what is finished is kept. What is compared stands in ``networks.toml`` beside this file;
docs/explanation/network-comparison.md says what the table shows, and what it does not. Needs the extra ``train``.
"""

import argparse
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from metseg.training.nnunet.recipe import NnunetRecipe

HERE = Path(__file__).resolve().parent
SHORT = {"nnunet": "nnunet", "unet++": "unet-plus-plus", "attention-unet": "attention-unet"}
AXES = {"2d": "2d", "3d_fullres": "3d"}
METRICS = ("field.dice", "field.f1", "field.sensitivity", "field.false", "seed.dice")


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    recipe: NnunetRecipe


def variants(told: Mapping[str, Any], out: Path, budget: Mapping[str, float]) -> Iterator[Variant]:
    """All that is compared: configuration by configuration, each network without CLAHE and with it."""
    compared = told["compared"]
    for configuration in compared["configurations"]:
        for network in compared["networks"]:
            for clahe in compared["clahe"]:
                name = f"{SHORT[network]}-{AXES[configuration]}{'-clahe' if clahe else ''}"
                step = {"name": "clahe", "kind": AXES[configuration], **told["clahe"]}
                dials = {
                    **told["recipe"], **told[configuration], **budget, "network": network,
                    "configuration": configuration, "preprocessing": [step] if clahe else [], "name": name,
                    "data": data_set(out, "train"), "out": out / name / "training",
                }  # fmt: skip
                yield Variant(name, NnunetRecipe.model_validate(dials))


def data_set(out: Path, kind: str) -> Path:
    """Folder of the training set, or of the test set."""
    return out / {"train": "Dataset951_CompareTrain", "test": "Dataset952_CompareTest"}[kind]


class Steps:
    """Runs metseg's commands, prints them, and keeps how long each took: ``OUT/seconds.json``."""

    def __init__(self, out: Path) -> None:
        self.path = out / "seconds.json"
        self.seconds: dict[str, float] = json.loads(self.path.read_text()) if self.path.is_file() else {}

    def run(self, what: str, *arguments: object) -> str:
        """Run ``metseg ARGUMENTS``; what it prints on stdout. A step that is run again adds to its time."""
        words = list(map(str, arguments))
        print(f"metseg {' '.join(words)}", flush=True)
        begun = time.perf_counter()
        done = subprocess.run(  # noqa: S603  our own command
            [sys.executable, "-c", "from metseg.cli.main import app; app()", *words], stdout=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
        self.seconds[what] = round(self.seconds.get(what, 0.0) + time.perf_counter() - begun, 1)
        self.path.write_text(json.dumps(self.seconds, indent=2) + "\n")
        if done.returncode:
            sys.exit(f"That failed with exit code {done.returncode}; the same command goes on from what is finished.")
        return done.stdout


def make_data(steps: Steps, out: Path, told: Mapping[str, Any], hosts: Path | None) -> None:
    """The training set and the test set, in heads that the other has not."""
    for kind, which in (("train", "--seen"), ("test", "--unseen")):
        it = told["data"][kind]
        real = [] if hosts is None else ["--hosts", hosts, which]
        folder = data_set(out, kind)
        if (folder / "dataset.json").is_file() and len(list(folder.glob("labelsTr/*.nii.gz"))) == it["count"]:
            continue  # to write its tables again would be to change it, and no training would go on
        steps.run(
            f"synthesise {kind}", "synthesise", folder, "-n", it["count"], "--modality", told["data"]["modality"],
            "--seed", it["seed"], *real, "-q",
        )  # fmt: skip


def judged(steps: Steps, out: Path, it: Variant, device: str) -> Path:
    """Train, segment the test set, evaluate; returns the folder of the evaluation."""
    folder = out / it.name
    scores, model = folder / "scores", folder / "training" / "models" / it.name
    if (scores / "evaluation.json").is_file():
        print(f"{it.name}: kept", flush=True)
        return scores
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(toml_text(it.recipe), encoding="utf-8")
    steps.run(f"{it.name}: train", "train", folder / "recipe.toml", "-q")
    test = data_set(out, "test")
    engine = ["--engine", "torch", "--device", "cuda"] if device == "cuda" else []
    steps.run(
        f"{it.name}: segment", "segment", test / "imagesTr", "-o", folder / "segmented", "--model", model,
        "--formats", "nifti", *engine, "-q",
    )  # fmt: skip
    steps.run(
        f"{it.name}: evaluate", "evaluate", folder / "segmented", test / "labelsTr",
        "--profile", "seed,field", "-o", scores, "--force", "-q",
    )  # fmt: skip
    return scores


def toml_text(recipe: NnunetRecipe) -> str:
    """A recipe as TOML; JSON writes its texts, numbers and lists in the same way."""
    plain = recipe.model_dump(mode="json", exclude_defaults=True)
    steps = plain.pop("preprocessing", [])
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for step in steps:
        own = {"name": step.pop("name", "clahe"), **step}
        lines += ["", "[[preprocessing]]", *(f"{key} = {json.dumps(value)}" for key, value in own.items())]
    return "\n".join(lines) + "\n"


def facts(out: Path, it: Variant) -> dict[str, str | int | float]:
    """What the table says of a network beside its scores; all counted or measured in this run."""
    from safetensors.numpy import load_file

    from metseg.engines.bundle import read_manifest
    from metseg.engines.torch.cost import network_cost

    folder = out / it.name
    bundle = read_manifest(folder / "training" / "models" / it.name)
    stage = bundle.manifest.nnunet.stages[-1]  # type: ignore[union-attr]  it came of nnU-Net
    cost = network_cost(stage, load_file(bundle.path(stage.weights[0])))
    voxels = 1
    for n in stage.window:
        voxels *= n
    (trained,) = (json.loads(path.read_text()) for path in (folder / "training" / "steps").glob("training-*.json"))
    runs = [json.loads(path.read_text()) for path in (folder / "segmented").glob("*/run.json")]
    return {
        "parameters, millions": cost.parameters / 1e6,
        "window": " × ".join(map(str, stage.window)),
        "GFLOP a window": cost.flops / 1e9,
        "kFLOP a voxel": cost.flops / voxels / 1e3,
        "minutes of training": trained["minutes"],
        "steps": trained["epochs"] * it.recipe.iterations,
        "trained on": trained["device"],
        "seconds a study": fmean(sum(run["timings_s"].values()) for run in runs),
    }


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder; all that is written goes there")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="training of each network")
    budget.add_argument("--epochs", type=int, help="the same number of steps for each, on a machine that others use")
    parser.add_argument(
        "--hosts", type=Path, help="heads to draw into, as for metseg synthesise; else heads are made up"
    )
    parser.add_argument("--what", type=Path, default=HERE / "networks.toml", help="another file than networks.toml")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the rows, such as nnunet-3d-clahe")
    parser.add_argument("--train", type=int, help="studies of the training set")
    parser.add_argument("--test", type=int, help="studies of the test set")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of torch, in training; 0: all")
    return parser.parse_args(given)


def main() -> None:
    """Do what is not done yet, and write the table."""
    import torch

    given = arguments()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    told = tomllib.loads(given.what.read_text(encoding="utf-8"))
    for kind in ("train", "test"):
        told["data"][kind]["count"] = getattr(given, kind) or told["data"][kind]["count"]
    device = given.device if given.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    told["recipe"] |= {"device": device, "threads": given.threads}
    budget = {"minutes": given.minutes} if given.epochs is None else {"epochs": given.epochs}
    known = {it.name: it for it in variants(told, out, budget)}
    if strange := sorted(set(given.only or ()) - set(known)):
        sys.exit(f"There is no {strange[0]}; there are {', '.join(known)}.")
    wanted = [it for name, it in known.items() if not given.only or name in given.only]
    steps = Steps(out)
    make_data(steps, out, told, given.hosts)
    scores = {it.name: judged(steps, out, it, device) for it in wanted}
    (out / "facts.json").write_text(json.dumps({it.name: facts(out, it) for it in wanted}, indent=2) + "\n")
    if len(wanted) < 2:
        sys.exit("There is one network alone: nothing to compare.")
    metrics = [word for metric in METRICS for word in ("--metric", metric)]
    runs = [f"{name}={folder}" for name, folder in scores.items()]
    table = steps.run(
        "compare", "compare", *runs, *metrics, "--facts", out / "facts.json", "-o", out / "table", "--force"
    )
    print(table)


if __name__ == "__main__":
    main()
