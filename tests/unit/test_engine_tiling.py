import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metseg.engines.manifest import Tiling
from metseg.engines.tiling import smaller, tile_size, tiles


@st.composite
def plans(draw):
    multiple = draw(st.sampled_from((1, 4, 8)))
    shape = tuple(multiple * draw(st.integers(1, 48 // multiple)) for _ in range(3))
    margin = draw(st.integers(0, 9))
    size = tuple(draw(st.integers(2 * margin + 1, 40)) for _ in range(3))
    return shape, Tiling(max_voxels=1, size=size, margin=margin), multiple


@given(plans())
def test_cores_cover_every_voxel_once_with_context(plan):
    shape, tiling, multiple = plan
    count = np.zeros(shape, dtype=int)
    parts = tiles(shape, tiling, multiple)
    for tile in parts:
        count[tile.keeps] += 1
        for read, keep, own, n in zip(tile.reads, tile.keeps, tile.keeps_of_tile, shape):
            assert 0 <= read.start <= keep.start < keep.stop <= read.stop <= n
            assert read.start == 0 or keep.start - read.start >= tiling.margin
            assert read.stop == n or read.stop - keep.stop >= tiling.margin
            assert read.start % multiple == 0
            assert read.stop % multiple == 0
            assert (own.start + read.start, own.stop + read.start) == (keep.start, keep.stop)
    assert (count == 1).all()
    # One shape for all, so that one compiled network serves.
    assert len({tuple(read.stop - read.start for read in tile.reads) for tile in parts}) == 1


def test_a_small_volume_goes_in_one_pass():
    (tile,) = tiles((320, 320, 256), Tiling())
    assert tile.reads == tile.keeps == (slice(0, 320), slice(0, 320), slice(0, 256))
    assert len(tiles((320, 320, 257), Tiling())) == 8


@given(plans())
def test_smaller_tiles_keep_the_margin_and_come_to_an_end(plan):
    shape, tiling, multiple = plan
    now = tile_size(tiles(shape, tiling, multiple))
    while (less := smaller(tiling, shape, multiple)) is not None:
        size = tile_size(tiles(shape, less, multiple))
        assert less.margin == tiling.margin
        assert all(one <= other for one, other in zip(size, now))
        assert size != now
        tiling, now = less, size


def test_tiles_are_halved_until_less_than_a_margin_would_be_kept():
    tiling, shape, sizes = Tiling(), (320, 320, 64), []
    while tiling is not None:
        sizes.append(tile_size(tiles(shape, tiling, 16)))
        tiling = smaller(tiling, shape, 16)
    assert sizes == [(320, 320, 64), (160, 160, 64), (96, 96, 64)]
    assert smaller(Tiling(max_voxels=1, size=(72, 72, 72)), (200, 200, 200), 8) is None
