"""Time metseg's torch engine against nnUNetPredictor on an accelerator, with the same weights, windows and folds.

``python bench/nnunet_gpu.py`` needs torch, nnunetv2 (2.8.1 was used), onnx and metseg in one environment, and an
accelerator; without one it says so and ends with exit code 2. Both are given the same prepared image and give back
logits on the host: 3d_fullres as nnU-Net plans it (six resolutions, 32 to 320 features, windows of 128³; random
weights), mirrored. They run in turn, so that whatever else the machine does meets both; the first run of each is not
counted. nnU-Net keeps its sums in half precision, so its labels differ a little; ``--openvino`` also holds metseg's
against those of its own engine for the CPU (minutes), which they should equal.
``--tiny --device cpu`` shows that the program works, and nothing about speed.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunet_agreement import ONE, Model, Peer, architecture, configuration, made_image, write
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from metseg.engines.nnunet.predictor import Passes
from metseg.engines.nnunet_engine import NnunetEngine
from metseg.engines.torch.engine import TorchNnunetEngine
from metseg.io.nnunet_import import import_nnunet

Logits = np.ndarray[Any, np.dtype[np.float32]]


def model(*, tiny: bool, folds: int) -> Model:
    """What is run; images of 1 mm, so that nothing is resampled."""
    stages = 3 if tiny else 6
    network = architecture("PlainConvUNet", [[3, 3, 3]] * stages, [[1] * 3] + [[2] * 3] * (stages - 1), [2] * stages)
    features = [8, 16, 24] if tiny else [32, 64, 128, 256, 320, 320]
    network["arch_kwargs"] |= {"features_per_stage": features, "n_conv_per_stage_decoder": [2] * (stages - 1)}
    window, shape = ([16] * 3, (20, 28, 24)) if tiny else ([128] * 3, (155, 220, 180))
    one = configuration([1, 1, 1], window, network, "ZScoreNormalization", 1)
    return Model("3d_fullres", {"3d_fullres": one}, ("3d_fullres",), ONE, ("T1c",), shape, (1.0, 1.0, 1.0), folds)


def timed(run: Callable[[], Logits]) -> tuple[float, Logits]:
    """Seconds, and what it gave; on the host, so that the accelerator has finished."""
    start = time.perf_counter()
    logits = run()
    return time.perf_counter() - start, logits


def dice(one: Logits, other: Logits) -> float:
    """Of the lesion that both see, by the largest logit."""
    a, b = (logits.argmax(axis=0) == 1 for logits in (one, other))
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


class DevicePeer(Peer):
    """nnUNetPredictor on any device, everything on it."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.it = nnUNetPredictor(use_mirroring=True, perform_everything_on_device=device.type != "cpu",
                                  allow_tqdm=False, device=device)  # fmt: skip
        self.it.initialize_from_trained_model_folder(str(folder), None, "checkpoint_final.pth")


def compare(device: torch.device, what: Model, runs: int, folder: Path, *, openvino: bool) -> None:
    """Print the times of each pair, their ratio, and how far the labels agree."""
    (trained,) = write(what, folder / "nnUNet_results")
    with contextlib.redirect_stdout(io.StringIO()):
        peer = DevicePeer(trained, device)
    data, _ = peer.prepare(made_image(what), what.spacing, None)
    bundle = import_nnunet(trained, folder / "bundle")
    engine = TorchNnunetEngine(bundle, device=str(device))
    stage = engine.model.stages[0]
    read = [fold() for fold in engine.running.folds_of(stage)]  # beforehand, as nnUNetPredictor does
    folds = [partial(dict, one) for one in read]
    prepared = np.ascontiguousarray(data.numpy())

    def metseg_on(it: NnunetEngine) -> Logits:
        return it.running.predict(stage, folds, prepared, passes=Passes(), regions=False, progress=lambda *_: None)

    def ours() -> Logits:
        return metseg_on(engine)

    def theirs() -> Logits:
        return np.asarray(peer.logits(data), dtype=np.float32)

    timed(ours), timed(theirs)
    ratios = []
    for number in range(runs):
        pair = [(run is ours, *timed(run)) for run in ((ours, theirs) if number % 2 else (theirs, ours))]
        (_, seconds, logits), (_, peer_seconds, peer_logits) = sorted(pair, key=lambda it: not it[0])
        ratios.append(peer_seconds / seconds)
        print(f"metseg {seconds:.2f} s, nnUNetPredictor {peer_seconds:.2f} s, Dice {dice(logits, peer_logits):.5f}")
    print(f"{what.name}, {what.folds} folds, {device}: nnUNetPredictor takes {statistics.median(ratios):.2f} times as "
          f"long as metseg (median of {runs} pairs, {min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip
    if openvino:
        print(f"metseg on {device} and on OpenVINO: Dice {dice(logits, metseg_on(NnunetEngine(bundle))):.5f}")


def main() -> int:
    """Run the comparison where there is a device for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", help="as torch spells it; else the accelerator that torch finds")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="a network and an image that take seconds on a CPU")
    parser.add_argument("--openvino", action="store_true", help="also compare with the engine for the CPU")
    given = parser.parse_args()
    if given.device is None and not torch.accelerator.is_available():
        print("torch finds no accelerator here; --tiny --device cpu tries the program itself.", file=sys.stderr)
        return 2
    device = torch.device(given.device) if given.device else torch.accelerator.current_accelerator()
    if torch.device(device).type == "cpu" and not given.tiny:
        print("Without --tiny a CPU would need hours.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        compare(
            torch.device(device),
            model(tiny=given.tiny, folds=given.folds),
            given.runs,
            Path(folder),
            openvino=given.openvino,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
