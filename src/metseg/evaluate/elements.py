"""Surface elements: the pieces of a marching-cubes surface on the lattice of voxel corners, and their areas.

Each corner of voxels has eight voxels around it; which of them are filled is its code, a bit each. Where they are
neither all empty nor all filled, a piece of the surface passes the corner: the triangles that marching cubes draws
(Lorensen and Cline, SIGGRAPH 1987) through the middles of the lines between filled and empty voxels. As in Nikolov
et al. 2018 (arXiv:1809.04430), on whose definition the BraTS challenges' distances rest, all of a corner's triangles
count as one element at that corner.
"""

from functools import lru_cache
from itertools import permutations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

Normal = tuple[int, int, int]
FULL: Final = 255
# A corner's voxels: (0, 0, 0) is the one before it along all axes, with the highest bit; (1, 1, 1) has the lowest.
VOXELS: Final = tuple(product((0, 1), repeat=3))
BITS: Final = tuple(128 >> n for n in range(8))

# One code of each kind up to symmetry and complement, and its triangles: the area of each as it is seen along
# i, j, k, in eighths of a voxel's face.
_CASES: Final[dict[int, tuple[Normal, ...]]] = {
    0b00000000: (),
    0b00000001: ((1, 1, 1),),
    0b00000011: ((2, 2, 0),) * 2,  # neighbours by a face
    0b00000110: ((1, 1, 1),) * 2,  # by an edge
    0b00011000: ((1, 1, 1),) * 2,  # by a corner
    0b00000111: ((4, 0, 0), (2, 2, 2), (1, 1, 1)),  # three in an L
    0b00010110: ((1, 1, 1),) * 3,
    0b00011001: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    0b00001111: ((4, 0, 0),) * 2,  # half the cube
    0b00010111: ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1)),  # a voxel and its three neighbours: a hexagon
    0b00011011: ((1, 1, 1), (3, 3, 3), (0, 2, 2), (2, 0, 2)),  # four in a chain
    0b00011110: ((4, 0, 0), (1, 1, 1), (2, 2, 2), (1, 1, 1)),  # an L and one apart
    0b00111100: ((2, 2, 0),) * 4,
    0b01101001: ((1, 1, 1),) * 4,
}


@lru_cache(maxsize=1)
def _triangles() -> dict[int, tuple[Normal, ...]]:
    """The triangles of each of the 256 codes: the cases turned and mirrored; what is filled and empty may swap."""
    found: dict[int, tuple[Normal, ...]] = {}
    for case, normals in _CASES.items():
        filled = [voxel for voxel, bit in zip(VOXELS, BITS) if case & bit]
        for (a, b, c), (p, q, r) in product(permutations(range(3)), product((0, 1), repeat=3)):
            moved = {(voxel[a] ^ p, voxel[b] ^ q, voxel[c] ^ r) for voxel in filled}
            code = sum(bit for voxel, bit in zip(VOXELS, BITS) if voxel in moved)
            found[code] = found[FULL - code] = tuple((n[a], n[b], n[c]) for n in normals)
    return found


@lru_cache(maxsize=16)
def element_areas(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Area in mm² of the surface element of each of the 256 codes.

    Args:
        spacing_mm: along i, j, k.
    """
    x, y, z = spacing_mm
    areas = np.zeros(FULL + 1)
    for code, normals in _triangles().items():
        # Each by itself, as in the official code: where exactly 95 % of an area is reached, the last digit decides.
        for a, b, c in normals:
            areas[code] += np.linalg.norm((a / 8 * y * z, b / 8 * x * z, c / 8 * x * y))
    areas.setflags(write=False)
    return areas
