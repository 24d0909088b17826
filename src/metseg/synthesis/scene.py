"""Pieces of heads for training: content, rendered, seen by a scanner, with the truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.preprocess.normalise import ForegroundStatistics, foreground_statistics
from metseg.synthesis.content import Content, ContentOptions, draw_content
from metseg.synthesis.ct_scanner import AIR_HU, scan_ct
from metseg.synthesis.fields import Field, Shape
from metseg.synthesis.hosts import Host, LabelHost
from metseg.synthesis.palettes import Palette, Sequence, draw_palette
from metseg.synthesis.render import render
from metseg.synthesis.scanner import badly_stripped, scan, stripped_brain
from metseg.synthesis.tissues import INTRACRANIAL
from metseg.synthesis.truth import Parts, mark
from metseg.synthesis.warp import Placement, sampling, unbent

_BADLY_STRIPPED = 0.15


@dataclass(frozen=True)
class SceneOptions(ContentOptions):
    """How a scene may vary.

    Args:
        sequences: what is seen; several share one grid.
        bend: the anatomy.
        anywhere: chance that a piece of a label map lies anywhere in the head, skull kept, not around a point of
            the brain.
        stripped: chance of no skull, where the piece does not lie anywhere.
        thick_slices: chance of slices 2–6 mm thick.
    """

    sequences: tuple[Sequence, ...] = ("t1c",)
    bend: bool = True
    anywhere: float = 0.0
    stripped: float = 0.6
    thick_slices: float = 0.3


@dataclass(frozen=True, eq=False)
class Scene:
    """A piece of a head, or all of it, RAS+, 1 mm.

    Args:
        images: (i, j, k) by sequence: MR on an arbitrary scale, CT in HU.
        labels: (i, j, k), see ``truth.LABELS``.
        truth: (i, j, k), number of each metastasis, 0 elsewhere.
        brain: (i, j, k), the inside of the skull, or what stripping left of it.
        statistics: by MR sequence, foreground statistics of the whole image that this is a piece of.
    """

    images: dict[str, Field]
    labels: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    brain: NDArray[np.bool_]
    statistics: dict[str, ForegroundStatistics]

    @property
    def image(self) -> Field:
        """Of the first sequence."""
        return next(iter(self.images.values()))


def _place(
    rng: np.random.Generator, host: Host, shape: Shape | None, options: SceneOptions, *, anywhere: bool
) -> Placement:
    size: Shape = shape or host.brain.shape
    if shape is None and not options.bend:
        return unbent(size)
    centre = (np.array(host.brain.shape) - 1) / 2
    if shape is not None:
        within = host.tissues > 0 if anywhere and isinstance(host, LabelHost) else host.brain
        middles = np.argwhere(within[::4, ::4, ::4]) * 4
        centre = middles[rng.integers(len(middles))] + rng.uniform(-8, 8, 3)
    return sampling(rng, size, centre)


def truth_of(content: Content) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Labels and lesion numbers (i, j, k) on the scene's own grid."""
    labels, instances = (np.zeros(content.inside.shape, dtype=np.uint8) for _ in range(2))
    for one in content.metastases:
        parts = Parts(one.number, one.nature == "cavity", one.fraction, one.dark, one.oedema)
        mark(labels[one.shape.box], instances[one.shape.box], parts)
    return labels, instances


def _statistics(host: Host, palette: Palette, *, stripped: bool) -> ForegroundStatistics:
    """Of the whole head, every fourth voxel, as it would look without lesions."""
    if not isinstance(host, LabelHost):
        return foreground_statistics(host.enhanced[::4, ::4, ::4])
    sparse = host.tissues[::4, ::4, ::4]
    image = palette.mean[sparse]
    if stripped:
        image = np.where(np.isin(sparse, INTRACRANIAL), np.maximum(image, 1e-3), 0).astype(np.float32)
    return foreground_statistics(image)


def _kept(rng: np.random.Generator, host: Host, content: Content) -> NDArray[np.bool_]:
    """What skull stripping leaves; tumour is never cut away."""
    kept = content.allowed
    if isinstance(host, LabelHost):
        kept = stripped_brain(rng, content.allowed if rng.random() < 0.7 else content.inside.intracranial)
        if rng.random() < _BADLY_STRIPPED:
            kept = badly_stripped(rng, kept, content.inside.tissues > 0)
    kept = kept.copy()
    for one in content.metastases:
        kept[one.shape.box] |= one.fraction > 0
    return kept


def make_scene(
    rng: np.random.Generator, host: Host, shape: Shape | None = None, options: SceneOptions | None = None
) -> Scene:
    """A scene from ``host``: a piece of ``shape`` voxels around some point of the brain, or all of the head.

    The same generator state, host and options give the same scene, bit for bit.
    """
    options = options or SceneOptions()
    made_of_labels = isinstance(host, LabelHost)
    anywhere = made_of_labels and bool(options.anywhere) and rng.random() < options.anywhere
    content = draw_content(rng, host, _place(rng, host, shape, options, anywhere=anywhere), options)
    labels, truth = truth_of(content)
    skull = anywhere or (made_of_labels and rng.random() >= options.stripped)
    intracranial = content.inside.intracranial
    brain = (
        np.asarray(ndimage.binary_closing(intracranial, iterations=2)) | intracranial | (truth > 0)
        if skull
        else _kept(rng, host, content)
    )
    images: dict[str, Field] = {}
    statistics: dict[str, ForegroundStatistics] = {}
    for sequence in options.sequences:
        palette = draw_palette(rng, sequence)
        image = render(rng, content, palette, content.scans.get(sequence))
        if sequence == "ct":
            seen = scan_ct(rng, image, 2 * options.thick_slices)
        else:
            seen = scan(rng, image, options.thick_slices)
            statistics[sequence] = _statistics(host, palette, stripped=not skull)
        images[str(sequence)] = seen if skull else np.where(brain, seen, np.float32(AIR_HU if sequence == "ct" else 0))
    return Scene(images, labels, truth, brain, statistics)
