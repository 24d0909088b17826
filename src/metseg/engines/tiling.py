"""Cut a volume into overlapping tiles of one shape, such that the tiles' cores cover it exactly once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from metseg.engines.manifest import Tiling

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Tile:
    """What one pass reads, and the part of it that is kept.

    Args:
        reads: box of the volume.
        keeps: box of the volume, inside ``reads``.
    """

    reads: Box
    keeps: Box

    @property
    def keeps_of_tile(self) -> Box:
        """``keeps`` in voxels of the tile."""
        i, j, k = (slice(k.start - r.start, k.stop - r.start) for r, k in zip(self.reads, self.keeps))
        return i, j, k


def _cuts(n: int, size: int, margin: int) -> Iterator[tuple[slice, slice]]:
    """(reads, keeps) along an axis of ``n`` voxels."""
    if n <= size:
        yield slice(0, n), slice(0, n)
        return
    core = size - 2 * margin
    start = 0
    while start < n:
        read = min(max(start - margin, 0), n - size)
        # The first tile has no neighbour to its left, and the last none to its right: they keep up to the edge.
        stop = n if read + size >= n else read + size - margin
        yield slice(read, read + size), slice(start, stop)
        start = stop if core > 0 else n


def tiles(shape: tuple[int, int, int], tiling: Tiling, multiple: int = 1) -> list[Tile]:
    """Tiles that cover a volume; a single one where it is small enough.

    Args:
        shape: of the volume; multiples of ``multiple``.
        tiling: sizes and margin, rounded up to multiples of ``multiple``, so that a network that halves its
            resolution meets the same voxels in a tile as in the whole.
        multiple: of voxels, by which tiles are placed.
    """
    whole = slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    if shape[0] * shape[1] * shape[2] <= tiling.max_voxels:
        return [Tile(whole, whole)]
    margin = -(-tiling.margin // multiple) * multiple
    sizes = [max(-(-size // multiple) * multiple, 2 * margin + multiple) for size in tiling.size]
    cuts = [list(_cuts(n, size, margin)) for n, size in zip(shape, sizes)]
    return [Tile((a[0], b[0], c[0]), (a[1], b[1], c[1])) for a, b, c in product(*cuts)]


def tile_size(parts: Sequence[Tile]) -> tuple[int, int, int]:
    """Voxels of each of the tiles of a volume along each axis."""
    i, j, k = (part.stop - part.start for part in parts[0].reads)
    return i, j, k


def smaller(tiling: Tiling, shape: tuple[int, int, int], multiple: int = 1) -> Tiling | None:
    """Tiles of half the size along each axis; None where they cannot be smaller.

    The margin stays, so that they give what larger ones give as nearly as before. At least as many voxels are kept
    between the margins as one margin has: with fewer, the margins would be nearly all the work.

    Args:
        tiling: that was too large.
        shape: of the volume.
        multiple: as for ``tiles``.
    """
    now = tile_size(tiles(shape, tiling, multiple))
    margin = -(-tiling.margin // multiple) * multiple
    # A volume may be narrower than a tile must be: then the tile spans it.
    i, j, k = (min(max(-(-n // 2), 3 * margin), max(n, 2 * margin + 1)) for n in now)
    less = Tiling(max_voxels=1, size=(i, j, k), margin=tiling.margin)
    return None if tile_size(tiles(shape, less, multiple)) == now else less
