"""Compare the evaluator with the official codes on random label maps.

    python bench/evaluate_parity.py --peer-python PYTHON [--panoptica] [--surface-distance FOLDER]
                                    [--brats-2023 FOLDER] [--brats-2024 FOLDER]

None of the codes is ours, so they have to be fetched, and run by an interpreter of an environment of their own:
``panoptica==2.1.7``; google-deepmind/surface-distance at 1f805ce; BraTS-2023-Metrics at 43c9052 and BraTS-2024-Metrics
at f1131e3, which need numpy < 2, scipy 1.10, pandas 1.5, nibabel, MedPy 0.5.2 and connected-components-3d 3.12. Prints
how many numbers agree (relative 1e-9), and those that do not.
"""

import argparse
import json
import math
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from metseg.evaluate import brats2023, brats2024, brats2025, panoptic, surface
from metseg.evaluate.pair import Case

SPACINGS_MM = ((1, 1, 1), (1, 1, 1), (0.9375, 0.9375, 1.5), (0.5, 0.5, 1), (0.7, 1.1, 2.9), (2, 1, 0.6))
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,), "RC": (4,)}
READ = """
import contextlib, io, json, os, sys, warnings
warnings.simplefilter("ignore")
import nibabel as nib
import numpy as np
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,), "RC": (4,)}
def plain(value):
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    return float(value)
def table(frame):
    return {row.pop("Labels"): row for row in frame.to_dict("records")}
"""
EACH = """
for name in sys.argv[1].split(","):
    files = [f"{name}_{side}.nii.gz" for side in ("pred", "ref")]
    images = [nib.load(file) for file in files]
    spacing = tuple(float(length) for length in images[0].header.get_zooms())
    prediction, reference = (np.asarray(image.dataobj) for image in images)
    with contextlib.redirect_stdout(io.StringIO()):
        scores = score(files, prediction, reference, spacing)
    print(json.dumps(plain(scores)), flush=True)
"""
PEERS = {
    "panoptica": """
from panoptica import (ConnectedComponentsInstanceApproximator, InputType, MaxBipartiteMatching, NaiveThresholdMatching,
                       Panoptica_Evaluator)
from panoptica.metrics import Metric
from panoptica.utils.edge_case_handling import EdgeCaseHandler, EdgeCaseResult, MetricZeroTPEdgeCaseHandling
from panoptica.utils.label_group import LabelGroup, LabelMergeGroup
from panoptica.utils.segmentation_class import SegmentationClassGroups
def evaluator(matcher, metrics, wide, **more):
    with contextlib.redirect_stdout(io.StringIO()):
        return Panoptica_Evaluator(
            expected_input=InputType.SEMANTIC, instance_approximator=ConnectedComponentsInstanceApproximator(),
            instance_matcher=matcher, instance_metrics=metrics, global_metrics=wide, **more)
def edge(result):
    return MetricZeroTPEdgeCaseHandling(no_instances_result=EdgeCaseResult.NAN, default_result=result)
best = MaxBipartiteMatching(matching_metric=Metric.DSC, matching_threshold=1e-6)
three = [Metric.DSC, Metric.NSD, Metric.HD95]
handler = EdgeCaseHandler({Metric.DSC: edge(EdgeCaseResult.ZERO), Metric.NSD: edge(EdgeCaseResult.ZERO),
                           Metric.HD95: edge(EdgeCaseResult.INF)})
groups = {"et": LabelGroup([3]), "rc": LabelGroup([4]), "tc": LabelMergeGroup([1, 3]), "wt": LabelMergeGroup([1, 2, 3])}
mets = evaluator(best, three, three, edge_case_handler=handler,
                 segmentation_class_groups=SegmentationClassGroups(groups))
two = [Metric.DSC, Metric.IOU]
plainly = {"naive_iou0.5": evaluator(NaiveThresholdMatching(), two, [Metric.DSC]),
           "naive_iou0.1": evaluator(NaiveThresholdMatching(matching_threshold=0.1), two, [Metric.DSC]),
           "bipartite_dsc1e-6": evaluator(best, two, [Metric.DSC])}
def regions(*arrays, spacing):
    results = mets.evaluate(*arrays, voxelspacing=spacing)
    return {name: result.to_dict(True) for name, result in results.items()}
def score(files, prediction, reference, spacing):
    masks = [np.isin(side, (1, 3)).astype(np.uint8) for side in (prediction, reference)]
    flat = {}
    for name, one in plainly.items():
        found = list(one.evaluate(*masks, voxelspacing=spacing).values())[0].to_dict()
        flat[name] = {k: v for k, v in found.items() if "volume" not in k and "voxel" not in k}
    turned = [np.ascontiguousarray(side.T) for side in (prediction, reference)]  # as SimpleITK reads files
    return {"files": regions(*turned, spacing=spacing), "arrays": regions(prediction, reference, spacing=spacing),
            "panoptic": flat}
""",
    "surface_distance": """
sys.path.insert(0, sys.argv[2])
import surface_distance as sd
def score(files, prediction, reference, spacing):
    scores = {}
    for region, labels in REGIONS.items():
        found = sd.compute_surface_distances(np.isin(reference, labels), np.isin(prediction, labels), spacing)
        means, near = sd.compute_average_surface_distance(found), sd.compute_surface_overlap_at_tolerance(found, 1.0)
        scores[region] = {
            "nsd_1mm": sd.compute_surface_dice_at_tolerance(found, 1.0),
            "nsd_0.5mm": sd.compute_surface_dice_at_tolerance(found, 0.5),
            "hd95": sd.compute_robust_hausdorff(found, 95), "hd100": sd.compute_robust_hausdorff(found, 100),
            "avg_surface_distance_ref_to_pred": means[0], "avg_surface_distance_pred_to_ref": means[1],
            "surface_overlap_1mm_ref": near[0], "surface_overlap_1mm_pred": near[1]}
    return scores
""",
    "brats_2023": """
sys.path.insert(0, sys.argv[2])
import metrics
inner = metrics.get_LesionWiseScores
def lists(*args, **kwargs):  # pandas since 1.4 cannot replace infinities beside arrays
    found = list(inner(*args, **kwargs))
    found[4] = [(row[0].tolist(), *row[1:]) for row in found[4]]
    return found
metrics.get_LesionWiseScores = lists
def score(files, prediction, reference, spacing):
    return table(metrics.get_LesionWiseResults(*files, "BraTS-MET"))
""",
    "brats_2024": """
sys.path.insert(0, sys.argv[2])
import metrics_MET
def score(files, prediction, reference, spacing):
    regions, _ = metrics_MET.get_LesionWiseResults(*files, "BraTS-MET")
    return {"regions": table(regions), "legacy": table(metrics_MET.get_LegacyResults(*files))}
""",
}


def make_pair(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """A small prediction and reference: boxes, blobs or specks, at times empty; the one often nearly the other."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(9, 26, 3))
    sides = [(boxes, blobs, specks)[seed % 3](rng, shape) for _ in range(2)]
    if seed % 5:
        moved = np.roll(sides[1], tuple(rng.integers(-1, 2, 3)), axis=(0, 1, 2))
        sides[0] = np.where(rng.random(shape) < rng.choice((0.02, 0.3)), sides[0], moved)
    for side, every in zip(sides, (11, 13)):
        side[...] = 0 if seed % every == 4 else side
    x, y, z = (float(np.float32(length)) for length in SPACINGS_MM[seed % len(SPACINGS_MM)])
    return sides[0], sides[1], (x, y, z)


def boxes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Up to a dozen boxes of any label, touching each other and the edges."""
    labels = np.zeros(shape, dtype=np.uint8)
    for _ in range(rng.integers(1, 13)):
        start = [rng.integers(0, size) for size in shape]
        labels[tuple(slice(at, at + rng.integers(1, 6)) for at in start)] = rng.choice((1, 2, 3, 3, 4))
    return labels


def blobs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Rings around cores in halos, and cavities, from smooth noise."""
    field = gaussian_filter(rng.normal(size=shape), rng.uniform(1, 2), mode="wrap")
    field /= field.std()
    return np.select([field > 2, field > 1.4, field > 0.9, field < -2], [1, 3, 2, 4], 0).astype(np.uint8)


def specks(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Single voxels and pairs of ET and NETC."""
    labels = np.where(rng.random(shape) < 0.01, rng.choice((1, 3), size=shape), 0)
    return np.asarray(np.maximum(labels, np.roll(labels, 1, axis=rng.integers(0, 3))), dtype=np.uint8)


def ours(peer: str, case: Case) -> dict[str, Any]:
    """What the peer gives, by us."""
    if peer == "panoptica":
        files, arrays = (brats2025.score(case, file_quirk=quirk).raw for quirk in (True, False))
        return {"files": dict(files), "arrays": dict(arrays), "panoptic": panoptic.blocks_of(case.pairs["TC"])}
    if peer == "surface_distance":
        return {region: surface.block_of(case.pairs[region]) for region in REGIONS}
    if peer == "brats_2023":
        return dict(brats2023.score(case).regions)
    scores = brats2024.score(case)
    return {"regions": scores.regions, "legacy": scores.legacy}


def numbers(scores: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Each number and where it stands; lesions in an order of their own."""
    if isinstance(scores, dict):
        for key, value in scores.items():
            yield from numbers(value, f"{path}.{key}")
    elif isinstance(scores, list):
        for n, row in enumerate(sorted(scores, key=lambda row: [round(row.get(k, -1), 6) for k in sorted(scores[0])])):
            yield from numbers(row, f"{path}[{n}]")
    else:
        yield path, float(scores)


def same(one: float, other: float) -> bool:
    """Equal within a relative 1e-9; NaN equals NaN."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-15) or (math.isnan(one) and math.isnan(other))


def compare(peer: str, python: str, folder: Path | None, names: list[str], cases: list[Case], work: Path) -> None:
    """Run a peer on all maps and print what differs."""
    command = [python, "-c", READ + PEERS[peer] + EACH, ",".join(names), str(folder.resolve() if folder else "")]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=work).stdout  # noqa: S603
    count, wrong = 0, []
    answers = [line for line in output.splitlines() if line.startswith("{")]
    for name, case, line in zip(names, cases, answers, strict=True):
        mine = dict(numbers(ours(peer, case)))
        for path, value in numbers(json.loads(line)):
            count += 1
            if path not in mine or not same(mine[path], value):
                wrong.append(f"  {name}{path}: {mine.get(path)} and {value}")
    print(f"{peer}: {count - len(wrong)} of {count} numbers agree on {len(names)} cases")
    print("\n".join(wrong[:20]), end="\n" if wrong else "")


def main() -> None:
    """Make the maps, run the peers that were named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="interpreter that can run the peers")
    parser.add_argument("--panoptica", action="store_true", help="compare with panoptica")
    parser.add_argument("--surface-distance", type=Path, help="its repository")
    parser.add_argument("--brats-2023", type=Path, help="folder of the official script")
    parser.add_argument("--brats-2024", type=Path, help="folder of the official script")
    parser.add_argument("--maps", type=int, default=30)
    options = parser.parse_args()
    named: dict[str, Path | None] = {"panoptica": None} if options.panoptica else {}
    named |= {name: getattr(options, name) for name in PEERS if name != "panoptica" and getattr(options, name)}
    with tempfile.TemporaryDirectory() as folder:
        work, names, cases = Path(folder), [f"map{seed:03d}" for seed in range(options.maps)], []
        for seed, name in enumerate(names):
            prediction, reference, spacing = make_pair(seed)
            for side, array in (("pred", prediction), ("ref", reference)):
                affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
                nib.save(nib.Nifti1Image(array, affine), work / f"{name}_{side}.nii.gz")
            cases.append(Case.of(prediction, reference, spacing))
        for peer, place in named.items():
            compare(peer, options.peer_python, place, names, cases, work)


if __name__ == "__main__":
    main()
