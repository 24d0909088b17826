"""A reader of RTSTRUCT that shares no code with the writer: polygons to voxels, by the rules of the standard alone."""

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset


def crossings(polygon, points):
    """Which points (n, 2) lie inside a polygon, by counting the edges that a ray to the right crosses."""
    starts, ends = polygon, np.roll(polygon, -1, axis=0)
    inside = np.zeros(len(points), dtype=bool)
    for (x0, y0), (x1, y1) in zip(starts.tolist(), ends.tolist(), strict=True):
        if y0 == y1:
            continue
        crossed = (y0 > points[:, 1]) != (y1 > points[:, 1])
        inside ^= crossed & (points[:, 0] < x0 + (points[:, 1] - y0) * (x1 - x0) / (y1 - y0))
    return inside


@dataclass
class Roi:
    """One region: its names, types and contours, each (points, 3) in LPS mm with the image it lies on."""

    name: str
    number: int
    kind: str
    contours: list[np.ndarray]
    images: list[str]


def read_rois(structures: Dataset) -> list[Roi]:
    """All regions, in the order of ROIContourSequence."""
    names = {int(item.ROINumber): str(item.ROIName) for item in structures.StructureSetROISequence}
    kinds = {
        int(item.ReferencedROINumber): str(item.RTROIInterpretedType) for item in structures.RTROIObservationsSequence
    }
    rois = []
    for item in structures.ROIContourSequence:
        number = int(item.ReferencedROINumber)
        contours, images = [], []
        for contour in item.ContourSequence:
            points = np.array([float(x) for x in contour.ContourData]).reshape(-1, 3)
            assert len(points) == int(contour.NumberOfContourPoints)
            contours.append(points)
            images.append(str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID))
        rois.append(Roi(names[number], number, kinds[number], contours, images))
    return rois


def fill(roi: Roi, slices: list[Dataset], samples: int = 1) -> np.ndarray:
    """The region on its images: (columns, rows, slices), the share of ``samples``² points of each pixel inside.

    Polygons of one slice are combined by exclusive or.
    """
    order = {str(one.SOPInstanceUID): k for k, one in enumerate(slices)}
    rows, columns = int(slices[0].Rows), int(slices[0].Columns)
    steps = (np.arange(samples) + 0.5) / samples - 0.5
    total = np.zeros((columns, rows, len(slices)))
    for dx in steps:
        for dy in steps:
            inside = np.zeros(total.shape, dtype=bool)
            for points, image in zip(roi.contours, roi.images, strict=True):
                k = order[image]
                polygon = in_pixels(points, slices[k])
                low = np.clip(np.floor(polygon.min(axis=0)).astype(int) - 1, 0, (columns, rows))
                high = np.clip(np.ceil(polygon.max(axis=0)).astype(int) + 2, 0, (columns, rows))
                i, j = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]), indexing="ij")
                found = crossings(polygon, np.stack([i.ravel() + dx, j.ravel() + dy], axis=1)).reshape(i.shape)
                inside[low[0] : high[0], low[1] : high[1], k] ^= found
            total += inside
    return total / samples**2


def in_pixels(points, image):
    """LPS millimetres to (column, row) of an image; the points must lie in its plane."""
    row, column = (np.array([float(x) for x in image.ImageOrientationPatient[n : n + 3]]) for n in (0, 3))
    offset = points - [float(x) for x in image.ImagePositionPatient]
    assert np.abs(offset @ np.cross(row, column)).max() < 1e-3
    between_rows, between_columns = (float(x) for x in image.PixelSpacing)
    return np.stack([offset @ row / between_columns, offset @ column / between_rows], axis=1)


def area_mm2(points) -> float:
    """Area of a flat polygon in space."""
    centred = points - points[0]
    return float(np.linalg.norm(np.cross(centred, np.roll(centred, -1, axis=0)).sum(axis=0)) / 2)
