"""Pictures of synthetic studies: what is made, and what is known of it.

``python recipes/atlas.py DATA docs/explanation/img/atlas-heads.png docs/explanation/img/atlas-ct.png``

The end of each file's name says what it shows: ``heads`` (contrast-enhanced T1, skull kept), ``stripped`` (the same
without skull), ``ct`` (after contrast agent) or ``mr4`` (T1 after and before gadolinium, FLAIR, T2). The hosts are the
label maps in DATA/hosts_labels and heads made from nothing, never real scans. With ``--real`` real scans of DATA stand
below the synthetic ones, for comparison by eye: such pictures are for whoever has the data, and are not passed on.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Final

import numpy as np
from image_statistics import trimmed
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from metseg.core.volume import Volume
from metseg.io.nifti import read_nifti
from metseg.synthesis.acquisition import draw_mr_protocol
from metseg.synthesis.head import make_head
from metseg.synthesis.hosts import FIRST_UNSEEN_HEAD, HostFile, LabelHost, find_hosts
from metseg.synthesis.study import Modality, SyntheticStudy, choose_host, draw_skull, make_study

_SEED: Final = 77
_FIGURES: Final[dict[str, tuple[Modality, str, int]]] = {  # modality, skull, studies
    "heads": ("t1c", "kept", 4), "stripped": ("t1c", "stripped", 4), "ct": ("ct", "kept", 4), "mr4": ("mr4", "kept", 2),
}  # fmt: skip
_MADE_FROM_NOTHING: Final = 3  # the number of the figure's study that shows such a head
_SEQUENCES: Final = ("t1c", "t1n", "t2f", "t2w")
_NAMES: Final = {"t1c": "T1c", "t1n": "T1", "t2f": "FLAIR", "t2w": "T2", "ct": "CT"}
_WINDOW_HU: Final = (-10.0, 90.0)
_MM_PER_PIXEL: Final = 0.75
_PANEL: Final = (244, 288)
_CAPTION: Final = 16
_GREYS: Final = 80  # fewer than 256, for smaller files
_COLOURS: Final = {1: (60, 120, 255), 2: (250, 210, 40), 3: (255, 50, 50), 4: (50, 220, 220)}
_WHITE: Final = _GREYS - 1


@dataclass(frozen=True, eq=False)
class Shown:
    """One picture's worth: the images of one case, its labels (``truth.LABELS``), and what to write above it."""

    images: dict[str, Volume]
    labels: NDArray[np.uint8]
    caption: str


def _numbers(skull: str, modality: Modality) -> Iterator[int]:
    """Numbers of the series whose studies have the skull wanted."""
    for number in count():
        rng = np.random.default_rng([_SEED, number]).spawn(4)[2]
        if modality != "ct":
            draw_mr_protocol(rng)
        if draw_skull(rng, modality) == skull:
            yield number


def synthetic(maps: list[HostFile], figure: str) -> Iterator[Shown]:
    """The studies of one figure."""
    modality, skull, studies = _FIGURES[figure]
    for place, number in enumerate(islice(_numbers(skull, modality), studies)):
        host: LabelHost
        if place == _MADE_FROM_NOTHING or not maps:
            host = make_head(FIRST_UNSEEN_HEAD + number)
        else:
            host = maps[choose_host(_SEED, number, [True] * len(maps), modality)].read()  # type: ignore[assignment]
        study = make_study(_SEED, number, host, modality)
        yield Shown(dict(study.images), np.asarray(study.labels.array), _caption(study, number))


def _caption(study: SyntheticStudy, number: int) -> str:
    host = study.made.host.replace("training_seg_", "map ").replace("made-", "made ")
    axis = ("sagittal", "coronal", "axial")[study.made.protocol.slice_axis]
    return f"{number}: {host}, {axis} {study.made.protocol.thickness_mm:g} mm"


def _read(path: Path) -> Volume:
    return read_nifti(path)[0]


def real(data: Path, figure: str) -> Iterator[Shown]:
    """Real scans to stand below the synthetic ones: their own labels in the numbers of ``truth.LABELS``."""
    modality, _, studies = _FIGURES[figure]
    if modality == "ct":
        for path in sorted(data.glob("hosts_ct/*/*.nii.gz")):
            image = _read(path)
            yield Shown({"ct": image}, np.zeros(image.grid.shape, dtype=np.uint8), f"real: {path.parent.name}")
    elif modality == "mr4":
        for folder in sorted(data.glob("mets/*")):
            images = {name: _read(next(folder.glob(f"*-{name}.nii.gz"))) for name in _SEQUENCES}
            labels = _labels(folder / "AURORA-pred_t1c_segmentation.nii.gz", {1: 2, 2: 3})
            yield Shown(images, labels, f"real: {folder.name}")
    else:
        folders = [f for f in sorted(data.glob("tumours/*")) if f.name.startswith("Brats18")]
        for folder in folders[:studies]:
            labels = _labels(folder / f"{folder.name}_seg.nii.gz", {1: 1, 2: 2, 4: 3})
            yield Shown({"t1c": _read(folder / f"{folder.name}_t1ce.nii.gz")}, labels, f"real: {folder.name[:20]}")


def _labels(path: Path, names: dict[int, int]) -> NDArray[np.uint8]:
    found = np.rint(np.asarray(_read(path).array)).astype(np.int64)
    labels = np.zeros(found.shape, dtype=np.uint8)
    for theirs, ours in names.items():
        labels[found == theirs] = ours
    return labels


def _axial(array: NDArray[np.generic], shown: Volume, level: int, *, order: int) -> NDArray[np.float32]:
    """One plane: rows from front to back, columns from the patient's right to left."""
    codes = np.sign(np.diag(shown.grid.affine))[:2]
    plane = np.asarray(array[:, :, level], dtype=np.float32)
    finer = [spacing / _MM_PER_PIXEL for spacing in shown.grid.spacing_mm[:2]]
    plane = ndimage.zoom(plane, finer, order=order, mode="nearest", grid_mode=True)
    plane = plane[:: int(codes[0]) or 1, :: int(codes[1]) or 1]
    return np.asarray(plane.T[::-1, ::-1], dtype=np.float32)


def _best_level(labels: NDArray[np.uint8], image: Volume) -> int:
    """Where there is most tumour; without one, above the middle."""
    area = np.count_nonzero((labels == 1) | (labels == 3), axis=(0, 1))
    return int(np.argmax(area)) if area.any() else round(0.6 * image.grid.shape[2])


def _grey(plane: NDArray[np.float32], volume: Volume, sequence: str) -> NDArray[np.uint8]:
    low, high = _WINDOW_HU
    if sequence != "ct":
        values = np.asarray(volume.array)[::2, ::2, ::2]
        low, high = 0.0, float(np.percentile(values[values > 0], 99.3 if sequence == "t1c" else 99.8))
    return np.asarray(np.rint(np.clip((plane - low) / (high - low), 0, 1) * _WHITE), dtype=np.uint8)


def _fitted(plane: NDArray[np.uint8], middle: tuple[int, int]) -> NDArray[np.uint8]:
    """A panel's size around ``middle``."""
    width, height = _PANEL
    canvas = np.zeros((height, width), dtype=np.uint8)
    top, left = middle[0] - height // 2, middle[1] - width // 2
    rows, columns = (
        slice(max(s, 0), min(s + n, m)) for s, n, m in zip((top, left), (height, width), plane.shape, strict=True)
    )
    part = plane[rows, columns]
    r, c = rows.start - top, columns.start - left
    canvas[r : r + part.shape[0], c : c + part.shape[1]] = part
    return canvas


def panels(shown: Shown) -> list[NDArray[np.uint8]]:
    """One for each sequence, and the first again with the outlines of its labels."""
    first = next(iter(shown.images.values()))
    level = _best_level(shown.labels, first)
    seen = {name: _axial(volume.array, volume, level, order=1) for name, volume in shown.images.items()}
    some = next(iter(seen.items()))
    box = trimmed((some[1] > (-300 if some[0] == "ct" else 0.12 * np.percentile(some[1], 99)))[:, :, None], margin=0)
    middle = ((box[0].start + box[0].stop) // 2, (box[1].start + box[1].stop) // 2)
    greys = [_grey(plane, shown.images[name], name) for name, plane in seen.items()]
    outlined = greys[0].copy()
    marks = _axial(shown.labels, first, level, order=0).astype(np.uint8)
    for label in _COLOURS:
        mask = marks == label
        outlined[mask & ~ndimage.binary_erosion(mask)] = _GREYS + label
    return [_fitted(plane, middle) for plane in (*greys, outlined)]


def _picture(cells: list[tuple[int, int, NDArray[np.uint8], str]]) -> Image.Image:
    """Panels at row and column, each below its caption."""
    width, height = _PANEL[0], _PANEL[1] + _CAPTION
    rows, columns = 1 + max(cell[0] for cell in cells), 1 + max(cell[1] for cell in cells)
    picture = Image.new("P", (columns * width, rows * height), 0)
    greys = [round(255 * n / _WHITE) for n in range(_GREYS)]
    table = [level for grey in greys for level in (grey, grey, grey)]
    for label in range(max(_COLOURS) + 1):
        table += _COLOURS.get(label, (0, 0, 0))
    picture.putpalette(table)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=11)
    for row, column, panel, caption in cells:
        picture.paste(Image.frombytes("P", _PANEL, panel.tobytes()), (column * width, row * height + _CAPTION))
        draw.text((column * width + 3, row * height + 1), caption, fill=_WHITE, font=font)
    return picture


def draw_figure(cases: list[Shown]) -> Image.Image:
    """Single images: a column a case, outlines below. Several images a case: a row a case."""
    cells = []
    single = max(len(case.images) for case in cases) == 1
    for place, case in enumerate(cases):
        names = [*(_NAMES[name] for name in case.images), "labels"]
        for other, (panel, name) in enumerate(zip(panels(case), names, strict=True)):
            if single:
                row, column = 2 * (place // 4) + other, place % 4
                cells.append((row, column, panel, case.caption if not other else ""))
            else:
                cells.append((place, other, panel, f"{name}   {case.caption}" if not other else name))
    return _picture(cells)


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="+", help="PNG files; their names end with what they show")
    parser.add_argument("--real", action="store_true", help="real scans below; not to be passed on")
    given = parser.parse_args()
    figures = {out: out.stem.rpartition("-")[2] for out in given.out}
    unknown = [out.name for out, figure in figures.items() if figure not in _FIGURES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: a name ends with -{', -'.join(_FIGURES)}")
    maps = [host for host in find_hosts(given.data, held_out=None) if host.is_map]
    for out, figure in figures.items():
        cases = [*synthetic(maps, figure), *(real(given.data, figure) if given.real else ())]
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_figure(cases).save(out, optimize=True)
        print(f"{out}: {len(cases)} cases, {out.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
