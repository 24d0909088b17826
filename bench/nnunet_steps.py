"""Time metseg's resampling against nnU-Net's own functions, on a CT of 300 slices and its model grid.

``python bench/nnunet_steps.py [--rounds N]`` needs nnunetv2 (2.8.1 was used) and metseg in one environment. Both do the
same work in turn; printed are the median seconds of each, the median of the paired ratios, and how far they differ.
The image and the logits of four labels are smooth noise, made up; labels are compared where nnU-Net's logits are not
within 1e-4 of a tie.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from scipy.ndimage import gaussian_filter

from metseg.engines.nnunet.decide import decided_on
from metseg.engines.nnunet.resample import Resampling, planned_shape, resample_image
from metseg.engines.nnunet.stage import NnunetModel

SHAPE, SPACING_MM = (300, 512, 512), (1.0, 0.45, 0.45)
MODEL_MM = (1.667, 1.0, 1.0)
LESIONS = 30


def smooth(shape: tuple[int, ...], width: float, seed: int) -> Any:
    """Noise of deviation 1, float32."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape).astype(np.float32), width)
    return field / field.std()


def paired(rounds: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[str, Any, Any]:
    """Seconds of both and the ratio, as text; and what each gave last."""
    seconds: list[tuple[float, float]] = []
    for _ in range(rounds):
        start = time.perf_counter()
        mine = ours()
        middle = time.perf_counter()
        other = theirs()
        seconds.append((middle - start, time.perf_counter() - middle))
    ratio = statistics.median(b / a for a, b in seconds)
    a, b = (statistics.median(column) for column in zip(*seconds))
    return f"{a:.2f} s | {b:.2f} s | {ratio:.1f}", mine, other


def image_to_model(rounds: int) -> str:
    """A cubic spline to the model's grid."""
    image = smooth(SHAPE, 1.5, 0)[np.newaxis]
    target = planned_shape(SHAPE, SPACING_MM, MODEL_MM)
    how = Resampling(order=3)
    text, mine, other = paired(
        rounds,
        lambda: resample_image(image, target, how, how.slow_axis(SPACING_MM, MODEL_MM)),
        lambda: resample_data_or_seg_to_shape(image, target, SPACING_MM, MODEL_MM, is_seg=False, order=3, order_z=0),
    )
    error = np.abs(mine - other).max() / float(other.max() - other.min())
    return f"| image to {'×'.join(map(str, target))}, cubic | {text} | {error:.1e} of range |"


def logits_to_labels(rounds: int, name: str, logits: Any) -> str:
    """Four labels back to the image's grid, and the largest of them."""
    model = NnunetModel.model_construct(labels=(0, 1, 2, 3), regions=False)
    how = Resampling(order=1)

    def theirs() -> Any:
        return resample_data_or_seg_to_shape(logits, SHAPE, MODEL_MM, SPACING_MM, is_seg=False, order=1, order_z=0)

    def their_labels() -> Any:
        return theirs().argmax(axis=0).astype(np.uint8)

    text, mine, other = paired(
        rounds, lambda: decided_on(logits, SHAPE, how, how.slow_axis(MODEL_MM, SPACING_MM), model), their_labels
    )
    unequal = mine != other
    largest = np.sort(theirs()[:, unequal], axis=0)[-2:]
    clear = int(((largest[1] - largest[0]) > 1e-4).sum())
    return f"| {name} to {'×'.join(map(str, SHAPE))} and labels | {text} | {clear} voxels ({unequal.sum()} ties) |"


def lesion_logits(shape: tuple[int, ...]) -> Any:
    """Sure background but for some blobs of three labels, as a trained network gives."""
    rng = np.random.default_rng(2)
    logits = 0.3 * np.stack([smooth(shape, 2, seed) for seed in range(4)])
    logits[0] += 8
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    for number in range(LESIONS):
        centre = np.array([rng.uniform(0.3 * n, 0.7 * n) for n in shape])
        near = np.exp(-((places - centre[:, None, None, None]) ** 2).sum(axis=0) / (2 * rng.uniform(1, 5) ** 2))
        logits[1 + number % 3] += 20 * near
    return logits.astype(np.float32)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    target = planned_shape(SHAPE, SPACING_MM, MODEL_MM)
    print("| work | metseg | nnU-Net | ratio | difference |\n|---|---|---|---|---|")
    print(image_to_model(rounds), flush=True)
    print(logits_to_labels(rounds, "logits of 30 lesions", lesion_logits(target)), flush=True)
    noise = np.stack([smooth(target, 4, seed) for seed in range(4)])
    print(logits_to_labels(rounds, "logits of smooth noise", noise), flush=True)


if __name__ == "__main__":
    main()
