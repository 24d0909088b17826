"""Measure a bundle on real scans that it was not trained on, at its operating points; print a table and write JSON.

``python recipes/measure.py src/metseg/models/mets-t1c DATA --json results.json``

DATA holds the folders ``tumours/`` (gliomas with expert masks: core = labels 1 and 4), ``hosts_t1c/open_ms/``
(brains without tumour), ``templates/`` (whole heads), ``hosts_ct/`` and ``mets/`` as the models' README.md describe
them. Synthetic studies are measured by ``operating_points.py``.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from real_ct import real_heads

from metseg.core.study import Study
from metseg.core.volume import LabelMap, ProbabilityMap, Volume
from metseg.engines.base import ModelCard, OperatingPoint
from metseg.engines.registry import load_engine
from metseg.evaluate.overlap import detection, dice
from metseg.io.nifti import read_nifti
from metseg.lesions.components import label_instances
from metseg.lesions.measure import measure_lesions
from metseg.pipeline.segment import confident_lesions
from metseg.preprocess.sample import labels_on_grid
from metseg.synthesis.hosts import HELD_OUT_SCANS

_SIZES = ((0, 3), (3, 5), (5, 10), (10, 1000))


@dataclass(frozen=True, eq=False)
class Case:
    """An image and what is known of it: reference instances (none: empty), and which group it counts in."""

    name: str
    group: str
    image: Volume
    reference: NDArray[np.uint32]


def _labels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(read_nifti(path)[0].array).astype(np.uint8)


def real_ct_cases(data: Path) -> Iterator[Case]:
    """Head CTs without known tumour or contrast agent."""
    for name, image in real_heads(data):
        yield Case(name, "head CT, no known tumour", image, np.zeros(image.grid.shape, dtype=np.uint32))


def real_mr_cases(data: Path) -> Iterator[Case]:
    """Gliomas, tumour-free brains, and the metastasis beside another model's prediction."""
    for folder in sorted(data.glob("tumours/*")):
        seg = _labels(folder / f"{folder.name}_seg.nii.gz")
        group = "glioma" if (seg == 4).any() else "glioma without enhancement"
        core = np.isin(seg, (1, 4)) if group == "glioma" else np.zeros(seg.shape, dtype=bool)
        image = read_nifti(folder / f"{folder.name}_t1ce.nii.gz")[0]
        yield Case(folder.name, group, image, label_instances(core))
    for folder in sorted(data.glob("hosts_t1c/open_ms/*")):
        image = read_nifti(folder / "T1POST_MNI.nii.gz")[0]
        group = "tumour-free" if folder.name in HELD_OUT_SCANS else "tumour-free, trained on"
        yield Case(f"open_ms {folder.name}", group, image, np.zeros(image.grid.shape, dtype=np.uint32))
    for path in (data / "templates/brainchop_t1/t1_crop.nii.gz", data / "templates/mricron_templates/ch2.nii.gz"):
        image = read_nifti(path)[0]
        yield Case(path.parent.name, "whole head, no tumour or contrast", image, np.zeros(image.grid.shape, np.uint32))
    for folder in sorted(data.glob("mets/*")):
        other = _labels(folder / "AURORA-pred_t1c_segmentation.nii.gz")
        image = read_nifti(next(folder.glob("*-t1c.nii.gz")))[0]
        yield Case(folder.name, "metastasis, against AURORA's prediction", image, label_instances(other == 2))


def judge(case: Case, probability: ProbabilityMap, card: ModelCard, point: OperatingPoint) -> dict[str, Any]:
    """Dice, lesions found and false components of one case at one operating point, as ``metseg segment`` applies it."""
    grid = case.image.grid
    called = label_instances(np.asarray(labels_on_grid(probability, grid, point.threshold).array) > 0)
    instances = np.asarray(confident_lesions(LabelMap(called, grid), probability, card, point)[0].array)
    mask = instances > 0
    counts = detection(instances, case.reference)
    reference, table = measure_lesions(LabelMap(case.reference, grid), None)
    touched = set(np.unique(np.asarray(reference.array)[mask]).tolist())
    sizes = {f"{a}-{b}": [n for n in table if a <= n.diameter_mm < b] for a, b in _SIZES}
    ml = grid.voxel_volume_mm3 / 1000
    return {
        "case": case.name,
        "group": case.group,
        "dice": round(dice(mask, case.reference > 0), 3),
        "present": counts.present,
        "found": counts.found,
        "false": counts.false,
        "touched": bool((mask & (case.reference > 0)).any()),
        "predicted_ml": round(float(mask.sum()) * ml, 2),
        "reference_ml": round(float((case.reference > 0).sum()) * ml, 2),
        "by_size": {name: (sum(n.id in touched for n in own), len(own)) for name, own in sizes.items()},
    }


def summarise(rows: list[dict[str, Any]]) -> list[str]:
    """One line a group."""
    lines = []
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        dices = [row["dice"] for row in own if row["present"]]
        sizes = {key: [sum(row["by_size"][key][n] for row in own) for n in (0, 1)] for key in own[0]["by_size"]}
        found = ", ".join(f"{key} mm {a}/{b}" for key, (a, b) in sizes.items() if b)
        middle = f", median Dice {median(dices):.3f} ({min(dices):.2f}-{max(dices):.2f})" if dices else ""
        touched = sum(row["touched"] for row in own)
        false = sum(row["false"] for row in own) / len(own)
        lines.append(f"{group}: {len(own)} cases, touched {touched}{middle}, {false:.2f} false a case; {found}")
    return lines


def markdown(rows: list[dict[str, Any]]) -> str:
    """All cases as a table."""
    lines = [
        "| case | kind | reference mL | segmented mL | Dice | reference components found | false components |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        overlap, found = "–", "none present"
        if row["present"]:
            overlap, found = f"{row['dice']:.2f}", f"{row['found']} of {row['present']}"
        volumes = f"{row['reference_ml']:.1f} | {row['predicted_ml']:.1f}"
        lines.append(f"| {row['case']} | {row['group']} | {volumes} | {overlap} | {found} | {row['false']} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name or folder of a bundle")
    parser.add_argument("data", type=Path)
    parser.add_argument("--points", nargs="+", metavar="NAME", help="operating points; all of the model's if not given")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="write a table of the cases at the first point")
    given = parser.parse_args()
    engine = load_engine("openvino", given.model)
    first = engine.card.default_operating_point
    names = given.points or sorted(engine.card.operating_points, key=lambda name: name != first)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    (sequence,) = engine.card.sequences
    for case in (real_ct_cases if sequence == "ct" else real_mr_cases)(given.data):
        probability = engine.predict(Study(case.name, {sequence: case.image}))
        for name, rows in results.items():
            rows.append(judge(case, probability, engine.card, engine.card.operating_point(name)))
            row = rows[-1]
            print(f"{name:9s} {case.name:24s} {row['group'][:26]:26s} Dice {row['dice']:.3f} "
                  f"found {row['found']}/{row['present']} false {row['false']} "
                  f"{row['predicted_ml']:.1f}/{row['reference_ml']:.1f} ml", flush=True)  # fmt: skip
    for name, rows in results.items():
        print(f"\n{name}", *summarise(rows), sep="\n  ")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if given.markdown:
        given.markdown.write_text(markdown(results[names[0]]), encoding="utf-8")


if __name__ == "__main__":
    main()
