"""Time whole studies against nnUNetPredictor: the same weights and windows, from the file to the labels' file.

``python bench/nnunet_speed.py [--rounds N] [--size 128] [--features 32] [--results FOLDER --image FILE]`` needs
torch, nnunetv2 (2.8.1 was used) and metseg in one environment. Without ``--results`` a PlainConvUNet of six stages with
random weights is made, without ``--image`` a brain of 1 mm. The labels that both find are compared. Each program runs
in a process of its own, in turn, cold; printed are the median wall seconds of both, the median of the paired ratios,
and the peak memory of the largest of each one's processes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

OURS = "from metseg.cli.main import app; app()"
THEIRS = """
import sys, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
folder, image, out, mirror, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
it = nnUNetPredictor(use_mirroring=mirror == "1", perform_everything_on_device=False, device=torch.device("cpu"),
                     allow_tqdm=False)
it.initialize_from_trained_model_folder(folder, None, "checkpoint_final.pth")
it.predict_from_files([[image]], [out], num_processes_preprocessing=1, num_processes_segmentation_export=1)
"""


def make_model(results: Path, size: int, features: int) -> None:
    """A trained folder of a network with random weights: nnU-Net's default for brains of 1 mm, at size 128."""
    import torch
    from nnunet_agreement import Model, configuration, write

    widths = [min(features * 2**n, features * 10) for n in range(6)]
    kernels, strides = [[3, 3, 3]] * 6, [[1, 1, 1], *[[2, 2, 2]] * 5]
    network = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 6, "features_per_stage": widths, "kernel_sizes": kernels, "strides": strides,
            "conv_op": "torch.nn.modules.conv.Conv3d", "conv_bias": True, "n_conv_per_stage": [2] * 6,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True}, "n_conv_per_stage_decoder": [2] * 5,
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }  # fmt: skip
    plan = configuration([1, 1, 1], [size] * 3, network, "ZScoreNormalization", 1, masked=True)
    torch.manual_seed(0)
    write(Model("speed", {"3d_fullres": plan}, ("3d_fullres",), {"background": 0, "mets": 1}, ("T1c",), (8, 8, 8),
                (1.0, 1.0, 1.0)), results)  # fmt: skip


def make_image(path: Path) -> None:
    """A stripped brain of 138×174×140 voxels in 182×218×182, of smooth noise."""
    from scipy.ndimage import gaussian_filter

    shape = np.array([182, 218, 182])
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")) - (shape / 2)[:, None, None, None]
    brain = ((places / np.array([69, 87, 70])[:, None, None, None]) ** 2).sum(axis=0) < 1
    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 1)
    image = np.where(brain, 300 + 60 * noise / noise.std(), 0).astype(np.int16)
    nib.save(nib.Nifti1Image(image, np.diag([-1.0, -1.0, 1.0, 1.0])), path)


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in GiB of a command's largest process."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603  # our own
    errors = child.stderr.read() if child.stderr else b""
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{errors.decode()[-2000:]}")
    return seconds, max(usage.ru_maxrss, 0) / 2**20


def compare(image: Path, folder: Path, bundle: Path, mode: str, threads: int, rounds: int) -> str:
    """One line of the table: ``fast`` against no mirroring, the other modes against all of it."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for number in range(rounds):
            out = place / f"ours{number}"
            ours = run([sys.executable, "-c", OURS, "segment", str(image), "-o", str(out), "--model", str(bundle),
                        f"--{mode}", "--formats", "nifti", "--threads", str(threads), "-q"])  # fmt: skip
            variables = [f"nnUNet_{what}={name}" for what in ("raw", "preprocessed", "results")]
            given = [str(folder), str(image), str(place / "theirs"), "0" if mode == "fast" else "1", str(threads)]
            theirs = run(["env", *variables, sys.executable, "-c", THEIRS, *given])
            rows.append((*ours, *theirs))
        mine = np.asarray(nib.load(next(out.glob("*/segmentation.nii.gz"))).dataobj)
        other = np.asarray(nib.load(place / "theirs.nii.gz").dataobj)
    seconds, memory, their_seconds, their_memory = (statistics.median(column) for column in zip(*rows))
    ratio = statistics.median(row[2] / row[0] for row in rows)
    both, either = int(((mine > 0) & (other > 0)).sum()), int((mine > 0).sum() + (other > 0).sum())
    dice = 2 * both / either if either else 1.0
    return (f"| {mode} | {seconds:.1f} s | {their_seconds:.1f} s | {ratio:.2f} | {memory:.2f} GiB | "
            f"{their_memory:.2f} GiB | {dice:.4f} |")  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--modes", default="fast")
    parser.add_argument("--results", type=Path, help="nnUNet_results with one model, of one channel")
    parser.add_argument("--image", type=Path)
    given: Any = parser.parse_args()
    from metseg.io.nnunet_folder import choose, find_trained
    from metseg.io.nnunet_import import Wishes, import_nnunet

    with tempfile.TemporaryDirectory() as name:
        results = given.results or Path(name) / "nnUNet_results"
        image = given.image or Path(name) / "brain_0000.nii.gz"
        if not given.results:
            make_model(results, given.size, given.features)
        if not given.image:
            make_image(image)
        bundle = import_nnunet(results, Path(name) / "bundle", Wishes()).folder
        folder = choose(results, find_trained(results)).path
        print(json.dumps({"image": nib.load(image).shape, "threads": given.threads, "rounds": given.rounds}))
        print("| mode | metseg | nnUNetPredictor | ratio | memory, metseg | nnUNetPredictor | Dice |")
        print("|---|---|---|---|---|---|---|")
        for mode in given.modes.split(","):
            print(compare(image, folder, bundle, mode, given.threads, given.rounds), flush=True)


if __name__ == "__main__":
    main()
