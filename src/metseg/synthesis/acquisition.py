"""The voxels a scanner makes: slice thickness and gap, pixel size, field of view, and where they lie in the world."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metseg.core.grid import Grid
from metseg.synthesis.fields import Field, Shape, log_uniform, raise_lattice
from metseg.synthesis.scanner import slice_weights
from metseg.synthesis.substances import Box


@dataclass(frozen=True)
class Protocol:
    """How a scan was set up.

    Args:
        slice_axis: 0 sagittal, 1 coronal, 2 axial.
        in_plane_mm: size of a pixel.
        thickness_mm: of a slice.
        gap_mm: between slices.
        tilt_deg: of the slices about the three axes.
        cut: share of the head that the field of view leaves out: below and above.
    """

    slice_axis: int
    in_plane_mm: float
    thickness_mm: float
    gap_mm: float
    tilt_deg: tuple[float, float, float]
    cut: tuple[float, float]


def draw_mr_protocol(rng: np.random.Generator) -> Protocol:
    """Thin three-dimensional scans (1–1.5 mm), or slices of 2–6 mm; in-plane 0.5–1.2 mm."""
    thin = rng.random() < 0.6
    axis = int(rng.choice(3, p=(0.25, 0.05, 0.7) if thin else (0.08, 0.12, 0.8)))
    in_plane = round(float(rng.uniform(0.8, 1.2) if thin else log_uniform(rng, 0.5, 1.0)), 4)
    thickness = round(float(rng.uniform(0.9, 1.5) if thin else rng.uniform(2, 6)), 2)
    gap = 0.0 if thin else round(float(thickness * rng.choice((0, rng.uniform(0, 0.2)))), 2)
    return Protocol(axis, in_plane, thickness, gap, _tilt(rng, 0.5, 8.0), _cut(rng))


def draw_ct_protocol(rng: np.random.Generator) -> Protocol:
    """Axial, 0.4–0.6 mm in plane, slices of 1–5 mm without gap."""
    thickness = round(float(rng.choice((rng.uniform(1, 1.5), rng.uniform(1.5, 3), rng.uniform(4, 5)))), 2)
    return Protocol(2, round(float(rng.uniform(0.4, 0.6)), 4), thickness, 0.0, _tilt(rng, 0.3, 10.0), _cut(rng))


def _tilt(rng: np.random.Generator, chance: float, spread: float) -> tuple[float, float, float]:
    a, b, c = (rng.normal(0, (spread, spread / 3, spread / 3)) if rng.random() < chance else np.zeros(3)).tolist()
    return a, b, c


def _cut(rng: np.random.Generator) -> tuple[float, float]:
    below = float(rng.uniform(0, 0.3)) if rng.random() < 0.5 else 0.0
    return below, float(rng.uniform(0, 0.12)) if rng.random() < 0.1 else 0.0


def _rotation(degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z)


@dataclass(frozen=True, eq=False)
class Acquisition:
    """The way from a scene of 1 mm to the voxels of one scan: a matrix for each axis.

    Args:
        matrices: three, (new, old): how much each scene voxel counts in each scan voxel.
        grid: of the scan.
        scene: grid of the scene; both lie in one world.
    """

    matrices: tuple[Field, Field, Field]
    grid: Grid
    scene: Grid

    @classmethod
    def of(cls, shape: Shape, protocol: Protocol) -> "Acquisition":
        """Of a scene of ``shape``, whose middle becomes the world's origin."""
        turn = _rotation(protocol.tilt_deg)
        middle = (np.array(shape) - 1) / 2
        scene = np.eye(4)
        scene[:3, :3], scene[:3, 3] = turn, -turn @ middle
        matrices, steps, firsts = [], [], []
        for axis, size in enumerate(shape):
            thick = axis == protocol.slice_axis
            width = protocol.thickness_mm if thick else protocol.in_plane_mm
            step = width + protocol.gap_mm if thick else width
            low, high = (protocol.cut[0] * size, (1 - protocol.cut[1]) * size) if axis == 2 else (0.0, float(size))
            count = max(int((high - low) / step), 1)
            centres = np.asarray(low - 0.5 + step / 2 + step * np.arange(count), dtype=np.float64)
            # Below 1 mm the scene has nothing finer to show: neighbours are interpolated.
            matrices.append(slice_weights(size, max(width, 1.0), centres).astype(np.float32))
            steps.append(step)
            firsts.append(centres[0])
        affine = np.eye(4)
        affine[:3, :3] = turn * np.array(steps)
        affine[:3, 3] = turn @ (np.array(firsts) - middle)
        sizes = (len(matrices[0]), len(matrices[1]), len(matrices[2]))
        return cls((matrices[0], matrices[1], matrices[2]), Grid(sizes, affine), Grid(shape, scene))

    def sees(self, image: Field) -> Field:
        """``image`` (i, j, k) of the scene in the scan's voxels."""
        return raise_lattice(image, self.matrices)

    def box(self, box: Box) -> Box:
        """The scan voxels that see anything of ``box``."""
        spans = []
        for matrix, span in zip(self.matrices, box, strict=True):
            touched = np.flatnonzero(matrix[:, span].any(axis=1))
            spans.append(slice(int(touched[0]), int(touched[-1]) + 1) if len(touched) else slice(0, 0))
        return spans[0], spans[1], spans[2]

    def sees_box(self, fraction: Field, box: Box) -> Field:
        """What fills ``fraction`` of the scene's voxels in ``box``, in the scan voxels of ``self.box(box)``."""
        target = self.box(box)
        parts = [np.ascontiguousarray(m[t, b]) for m, t, b in zip(self.matrices, target, box, strict=True)]
        return raise_lattice(fraction, (parts[0], parts[1], parts[2]))
