"""Compare synthetic studies with real scans by simple image statistics; print the tables.

``python recipes/compare_synthetic.py DATA --json statistics.json --markdown statistics.md``

DATA holds ``hosts_labels/`` (label maps, the hosts of the synthetic studies), and real scans: ``tumours/`` (gliomas
with expert masks: 1 core that does not enhance, 2 oedema, 4 enhancing), ``hosts_t1c/open_ms/`` (brains without tumour),
``mets/``, ``mets_masks/`` (masks of metastases, without images) and ``hosts_ct/``. What is measured, and how to read
it, stands in ``docs/explanation/synthesis-atlas.md``.

All are measured on a grid of 1 mm. The real MR is skull-stripped, so the synthetic studies are those that are drawn
stripped, too. Their hosts are label maps only: a study in a real scan would show that scan's own tissue.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from image_statistics import (
    Scan,
    measure_ct,
    measure_lesions_of,
    measure_t1c,
    on_1mm,
)
from numpy.typing import NDArray
from scipy import stats

from metseg.core.volume import Volume
from metseg.io.nifti import read_nifti
from metseg.synthesis.acquisition import draw_mr_protocol
from metseg.synthesis.hosts import HostFile, find_hosts
from metseg.synthesis.study import Modality, SyntheticStudy, choose_host, draw_skull, make_study

Rows = list[dict[str, Any]]
_SURE = 0.05
_COLUMNS = (
    "statistic", "n real, synthetic", "real: median [range]", "synthetic: median [range]",
    "real within synthetic range", "AUC", "p (U)", "p (KS)", "reading",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """What was measured of one group: a row a scan, and the diameters of all its lesions."""

    rows: Rows
    diameters: tuple[float, ...] = ()


def _read(path: Path) -> Volume:
    return read_nifti(path)[0]


def _whole_numbers(volume: Volume) -> NDArray[np.uint8]:
    return np.asarray(volume.array).astype(np.uint8)


def _scan(name: str, image: Volume, parts: dict[str, NDArray[np.bool_]]) -> Scan:
    spacing = image.grid.spacing_mm
    return Scan(
        name,
        on_1mm(image.array, spacing, 1),
        {part: on_1mm(mask, spacing, 0) > 0 for part, mask in parts.items()},
    )


def _stripped(name: str, image: Volume, parts: dict[str, NDArray[np.bool_]]) -> Scan:
    """The same, with a sharp edge to the 0 around the brain."""
    brain = on_1mm(np.asarray(image.array) != 0, image.grid.spacing_mm, 0) > 0
    scan = _scan(name, image, parts)
    return Scan(name, scan.image * brain, scan.parts)


def real_t1c(data: Path) -> Iterator[Scan]:
    """Gliomas with their parts; brains without tumour; a metastasis whose parts no expert has drawn."""
    for folder in sorted(data.glob("tumours/*")):
        labels = _whole_numbers(_read(folder / f"{folder.name}_seg.nii.gz"))
        parts = {"enhancing": labels == 4, "core": labels == 1, "oedema": labels == 2}
        if not parts["enhancing"].any():
            parts = {"other": labels > 0}
        yield _stripped(folder.name, _read(folder / f"{folder.name}_t1ce.nii.gz"), parts)
    for folder in sorted(data.glob("hosts_t1c/open_ms/*")):
        image = _read(folder / "T1POST_MNI.nii.gz")
        positive = Volume(np.clip(image.array, 0, None), image.grid)  # interpolation has left values below 0
        yield _stripped(f"open_ms {folder.name}", positive, {})
    for folder in sorted(data.glob("mets/*")):
        other = _whole_numbers(_read(folder / "AURORA-pred_t1c_segmentation.nii.gz"))
        yield _stripped(folder.name, _read(next(folder.glob("*-t1c.nii.gz"))), {"other": other > 0})


def study_scan(study: SyntheticStudy, sequence: str, number: int) -> Scan:
    """One image of a synthetic study with its parts."""
    labels = np.asarray(study.labels.array)
    parts = {"enhancing": labels == 3, "core": labels == 1, "oedema": labels == 2, "other": labels == 4}
    scan = _scan if sequence == "ct" else _stripped
    return scan(f"synthetic {number} on {study.made.host}", study.images[sequence], parts)


def stripped_numbers(seed: int) -> Iterator[int]:
    """Numbers of the T1c studies that are drawn without skull; known without making them.

    This follows ``make_study``; that it still does is checked with each study that is made.
    """
    for number in count():
        rng = np.random.default_rng([seed, number]).spawn(4)[2]
        draw_mr_protocol(rng)
        if draw_skull(rng, "t1c") == "stripped":
            yield number


def synthetic(
    maps: list[HostFile], seed: int, modality: Modality, studies: int
) -> Iterator[tuple[int, SyntheticStudy]]:
    """Studies by number; of T1c, stripped ones.

    Raises:
        ValueError: a study that should be stripped is not.
    """
    for number in islice(stripped_numbers(seed) if modality == "t1c" else count(), studies):
        host = maps[choose_host(seed, number, [True] * len(maps), modality)]
        study = make_study(seed, number, host.read(), modality)
        if modality == "t1c" and study.made.skull != "stripped":
            raise ValueError(f"Study {number} has its skull: make_study draws in another order than stripped_numbers.")
        print(f"made {modality} {number}", flush=True)
        yield number, study


def t1c_samples(data: Path, maps: list[HostFile], seed: int, studies: int) -> dict[str, tuple[Sample, Sample]]:
    """Real and synthetic: images, and lesions."""
    real = [{"scan": scan.name, **measure_t1c(scan)} for scan in real_t1c(data)]
    masks: list[tuple[dict[str, Any], list[float]]] = []
    for path in sorted(data.glob("mets_masks/*.nii.gz")):
        volume = _read(path)
        row, sizes = measure_lesions_of(_whole_numbers(volume), volume.grid.voxel_volume_mm3)
        masks.append(({"scan": path.name.partition(".")[0], **row}, sizes))
    made: Rows = []
    lesions: list[tuple[dict[str, Any], list[float]]] = []
    for number, study in synthetic(maps, seed, "t1c", studies):
        scan = study_scan(study, "t1c", number)
        made.append({"scan": scan.name, **measure_t1c(scan)})
        row, sizes = measure_lesions_of(np.asarray(study.labels.array), study.labels.grid.voxel_volume_mm3)
        lesions.append(({"scan": scan.name, **row}, sizes))
    return {
        "T1c": (Sample(real), Sample(made)),
        "Metastases": (_sample(masks), _sample(lesions)),
    }


def _sample(cases: list[tuple[dict[str, Any], list[float]]]) -> Sample:
    return Sample([row for row, _ in cases], tuple(size for _, sizes in cases for size in sizes))


def ct_samples(data: Path, maps: list[HostFile], seed: int, studies: int) -> tuple[Sample, Sample]:
    """Real and synthetic."""
    real = [
        {"scan": path.parent.name, **measure_ct(_scan(path.parent.name, _read(path), {}))}
        for path in sorted(data.glob("hosts_ct/*/*.nii.gz"))
    ]
    made = []
    for number, study in synthetic(maps, seed, "ct", studies):
        scan = study_scan(study, "ct", number)
        made.append({"scan": scan.name, **measure_ct(scan)})
    return Sample(real), Sample(made)


def _values(sample: Sample, name: str) -> list[float]:
    return [row[name] for row in sample.rows if name in row]


def compare(name: str, real: list[float], made: list[float]) -> dict[str, Any]:
    """One statistic in two samples; tests where both hold at least three values."""
    inside = sum(min(made) <= value <= max(made) for value in real) if made else 0
    row: dict[str, Any] = {"statistic": name, "real": real, "synthetic": made, "real_within_synthetic_range": inside}
    if min(len(real), len(made)) < 3:
        return {**row, "verdict": "not tested"}
    u = stats.mannwhitneyu(made, real)
    ks = stats.ks_2samp(made, real)
    differs = min(u.pvalue, ks.pvalue) < _SURE
    return {
        **row,
        "auc": float(u.statistic) / (len(real) * len(made)),
        "u_p": float(u.pvalue),
        "ks_p": float(ks.pvalue),
        "verdict": "differs" if differs else f"no difference found with n = {len(real)} and {len(made)}",
    }


def compare_samples(real: Sample, made: Sample) -> Rows:
    """A row for each statistic that either sample has."""
    names = dict.fromkeys(key for row in (*made.rows, *real.rows) for key in row if key != "scan")
    rows = [compare(name, _values(real, name), _values(made, name)) for name in names]
    if real.diameters or made.diameters:
        rows.append(compare("diameters of all lesions together, mm", list(real.diameters), list(made.diameters)))
    return rows


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    middle, low, high = (f"{n:.3g}" for n in (np.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [{low}–{high}]"


def markdown(title: str, rows: Rows) -> str:
    """A table."""
    lines = [
        f"**{title}**",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "| --- " * len(_COLUMNS) + "|",
    ]
    for row in rows:
        n = f"{len(row['real'])}, {len(row['synthetic'])}"
        numbers = f"{row['auc']:.2f} | {row['u_p']:.2g} | {row['ks_p']:.2g}" if "auc" in row else "– | – | –"
        inside = f"{row['real_within_synthetic_range']} of {len(row['real'])}"
        spreads = f"{_spread(row['real'])} | {_spread(row['synthetic'])}"
        lines.append(f"| {row['statistic']} | {n} | {spreads} | {inside} | {numbers} | {row['verdict']} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--studies", type=int, default=12, help="synthetic T1c studies; of CT, half as many")
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--json", type=Path, help="write all numbers")
    parser.add_argument("--markdown", type=Path, help="write the tables")
    given = parser.parse_args()
    maps = [host for host in find_hosts(given.data, held_out=None) if host.is_map]
    samples = t1c_samples(given.data, maps, given.seed, given.studies)
    samples["CT"] = ct_samples(given.data, maps, given.seed, max(given.studies // 2, 1))
    tables = {title: compare_samples(real, made) for title, (real, made) in samples.items()}
    text = "\n".join(markdown(title, rows) for title, rows in tables.items())
    print(text)
    if given.markdown:
        given.markdown.write_text(text, encoding="utf-8")
    if given.json:
        scans = {title: {"real": real.rows, "synthetic": made.rows} for title, (real, made) in samples.items()}
        given.json.write_text(json.dumps({"scans": scans, "tests": tables}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
