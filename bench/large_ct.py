"""Seconds and peak memory of ``metseg segment`` on a head-and-neck CT of 512×512×600 voxels, made up.

``python bench/large_ct.py [--model NAME|FOLDER | --nnunet] [--mode fast|standard|thorough] [--slices 600]``. The CT has
a head with skull and brain, a neck and shoulders, in air, with noise; voxels of 0.55×0.55×0.8 mm. The process is
metseg's own, cold, from the file to masks, tables and the report. ``--nnunet`` makes an nnU-Net model for voxels of
0.7×0.7×1 mm with windows of 128³ and imports it (needs torch and nnunetv2): a small network of random weights
that finds little, since it is the whole scan's arrays that take the memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

SPACING_MM = (0.55, 0.55, 0.8)
METSEG = "from metseg.cli.main import app; app()"


def ellipsoid(shape: tuple[int, ...], centre_mm: tuple[float, ...], radii_mm: tuple[float, ...]) -> np.ndarray:
    """Voxels of an ellipsoid; centre from the middle of the axial plane and from the lowest slice."""
    i, j, k = (np.arange(n) * mm for n, mm in zip(shape, SPACING_MM, strict=True))
    x = ((i - i.mean() - centre_mm[0]) / radii_mm[0]) ** 2
    y = ((j - j.mean() - centre_mm[1]) / radii_mm[1]) ** 2
    z = ((k - centre_mm[2]) / radii_mm[2]) ** 2
    return (x[:, None, None] + y[None, :, None] + z[None, None, :]) < 1


def make_ct(path: Path, slices: int) -> None:
    """Air, shoulders, neck, head, skull, brain, three lesions."""
    shape = (512, 512, slices)
    top = slices * SPACING_MM[2]
    image = np.full(shape, -1000, dtype=np.int16)
    image[ellipsoid(shape, (0, 0, 0), (135, 90, 140))] = 40
    image[ellipsoid(shape, (0, 0, top - 230), (60, 65, 150))] = 30
    image[ellipsoid(shape, (0, 0, top - 110), (80, 100, 105))] = 20
    image[ellipsoid(shape, (0, 0, top - 95), (75, 94, 88))] = 900
    image[ellipsoid(shape, (0, 0, top - 95), (69, 88, 82))] = 35
    for centre, radius in (((30, 20, top - 80), 8), ((-35, -30, top - 100), 5), ((10, -50, top - 60), 12)):
        image[ellipsoid(shape, centre, (radius,) * 3)] = 75
    rng = np.random.default_rng(0)
    for n in range(slices):
        body = image[:, :, n] > -500
        image[:, :, n][body] += rng.normal(0, 8, int(body.sum())).astype(np.int16)
    nib.save(nib.Nifti1Image(image, np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])), path)


def make_nnunet(folder: Path) -> Path:
    """A bundle of a small nnU-Net model for CT."""
    import torch
    from nnunet_agreement import ONE, Model, architecture, configuration, write

    from metseg.io.nnunet_import import import_nnunet

    def timid(network: torch.nn.Module) -> None:
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if "seg_layers" in name:
                    weight.copy_(weight * 0.3 if weight.ndim > 1 else torch.tensor([6.0, -6.0]))

    network = architecture("PlainConvUNet", [[3, 3, 3]] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 2]], [1, 1, 1])
    network["arch_kwargs"]["features_per_stage"] = [4, 8, 8]
    plan = configuration([1.0, 0.7, 0.7], [128] * 3, network, "CTNormalization", 1)
    model = Model("ct", {"3d_fullres": plan}, ("3d_fullres",), ONE, ("CT",), (8, 8, 8), (1.0, 1.0, 1.0))
    torch.manual_seed(0)
    write(model, folder / "nnUNet_results", teach=timid)
    return import_nnunet(folder / "nnUNet_results", folder / "bundle").folder


def main() -> None:
    """Make it, segment it, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mets-ct")
    parser.add_argument("--nnunet", action="store_true")
    parser.add_argument("--mode", default="standard")
    parser.add_argument("--slices", type=int, default=600)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        image, out = Path(name) / "ct.nii.gz", Path(name) / "out"
        make_ct(image, given.slices)
        model = str(make_nnunet(Path(name))) if given.nnunet else given.model
        command = [sys.executable, "-c", METSEG, "segment", str(image), "-o", str(out), "--model", model,
                   f"--{given.mode}", "-q"]  # fmt: skip
        start = time.perf_counter()
        child = subprocess.Popen(command)  # noqa: S603  # our own
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit(f"metseg failed with status {status}.")
        lesions = len((out / "ct" / "lesions.csv").read_text().splitlines()) - 1
    memory = usage.ru_maxrss / 2**20
    what = f"| 512×512×{given.slices} | {'nnU-Net' if given.nnunet else given.model} | {given.mode}"
    print(f"{what} | {seconds:.0f} s | {memory:.2f} GiB | {lesions} lesions |")


if __name__ == "__main__":
    main()
