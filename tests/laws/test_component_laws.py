"""Sparse components, surfaces and distances against what scipy makes of the whole volume, on any mask."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_dilation, binary_erosion, correlate, generate_binary_structure, label
from scipy.spatial.distance import cdist

from metseg.evaluate.elements import BITS, VOXELS
from metseg.evaluate.instances import Components, contacts, overlaps, shared_voxels
from metseg.evaluate.lattice import Box, common_box
from metseg.evaluate.pair import RegionPair
from metseg.lesions.components import label_instances

EVERYWHERE, EDGES, FACES = (generate_binary_structure(3, n) for n in (3, 2, 1))
shapes = st.tuples(*[st.integers(1, 9)] * 3)


@st.composite
def mask_pairs(draw):
    """Two masks of one shape, sparse or dense; often one is nearly the other."""
    shape, seed = draw(shapes), draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    one, other = (rng.random(shape) < draw(st.sampled_from((0.0, 0.03, 0.1, 0.4, 1.0))) for _ in range(2))
    return one, (one | other if draw(st.booleans()) else other)


def components_of(mask) -> tuple[Components, Box, np.ndarray]:
    """A mask's components, their box, and the box's first voxel inside the empty layer."""
    box, (voxels,) = common_box(mask)
    filled = np.argwhere(mask) if mask.any() else np.zeros((1, 3), int)
    return Components.of(box, voxels.places), box, np.maximum(filled.min(axis=0) - 2, 0) - 1


def in_volume(box, places, start) -> list[tuple[int, ...]]:
    return [tuple(index) for index in (box.indices(places) + start).tolist()]


@given(mask_pairs())
def test_components_and_their_order(masks):
    mask = masks[0]
    components, box, start = components_of(mask)
    expected, count = label(mask, EVERYWHERE)  # scipy numbers by first voxel, too
    assert components.count == count
    assert [expected[at] for at in in_volume(box, components.places, start)] == components.ids.tolist()
    reversed_order, _ = label(mask.T, EVERYWHERE)
    in_k = components.by_first_in_k[components.ids]
    assert [reversed_order.T[at] for at in in_volume(box, components.places, start)] == in_k.tolist()


@given(mask_pairs(), st.sampled_from(((6, FACES), (18, EDGES), (26, EVERYWHERE))))
@example((np.array([[[True], [False], [True]]]), np.zeros((1, 3, 1), bool)), (26, EVERYWHERE))  # cc3d alone fails
def test_instances_are_the_components(masks, connectivity):
    mask, (number, structure) = masks[0], connectivity
    found = label_instances(mask, number)
    expected, count = label(mask, structure)
    assert found.max() == count
    pairs = np.unique(np.stack([found[mask], expected[mask]]), axis=1)
    assert pairs.shape[1] == count  # the same but for the numbers
    assert (np.diff(np.bincount(found.ravel())[1:]) <= 0).all()
    assert (found[~mask] == 0).all()


@given(mask_pairs())
def test_merging_by_dilation(masks):
    mask = masks[0]
    components, box, start = components_of(mask)
    expected, _ = label(binary_dilation(mask, EDGES), EVERYWHERE)
    lesions = components.merged[components.ids]
    assert [expected[at] for at in in_volume(box, components.places, start)] == lesions.tolist()


@given(mask_pairs())
def test_border_and_corners(masks):
    mask = masks[0]
    components, box, start = components_of(mask)
    border = mask & ~binary_erosion(mask, FACES)
    assert sorted(in_volume(box, components.border.places, start)) == [tuple(at) for at in np.argwhere(border).tolist()]
    codes = correlate(np.pad(mask, 1).astype(np.uint8), np.reshape(BITS, (2, 2, 2)), mode="constant")
    corners = dict(zip(in_volume(box, components.corners.places, start), components.corners.codes.tolist()))
    assert corners == {tuple(at): int(codes[tuple(at + 1)]) for at in np.argwhere(codes) - 1}
    assert VOXELS[0] == (0, 0, 0)


@given(mask_pairs())
def test_contacts_and_shared_voxels(masks):
    box, voxels = common_box(*masks)
    one, other = (Components.of(box, side.places) for side in voxels)
    first, second = (label(mask, EVERYWHERE)[0] for mask in masks)
    near = {
        (n, int(m)) for n in range(1, first.max() + 1) for m in np.unique(second[binary_dilation(first == n, EDGES)])
    }
    assert set(zip(*(side.tolist() for side in contacts(one, other)))) == {pair for pair in near if pair[1]}
    sides = [side.tolist() for side in shared_voxels(one, other)]
    assert sides == [side.tolist() for side in overlaps(first.astype(np.uint32), second.astype(np.uint32))]
    assert sum(sides[2]) == np.count_nonzero(masks[0] & masks[1])


@given(mask_pairs(), st.sampled_from([(1.0, 1.0, 1.0), (0.7, 1.1, 2.9)]))
@settings(max_examples=20)
def test_distances_are_the_shortest_ones(masks, spacing):
    box, voxels = common_box(*masks)
    pair = RegionPair.of(box, *(side.places for side in voxels), spacing, masks[0].size)
    found = pair.border_distances(*pair.everything, spacing)
    borders = [np.argwhere(mask & ~binary_erosion(mask, FACES)) * spacing for mask in masks]
    if all(map(len, borders)):
        table = cdist(borders[1], borders[0])
        assert np.allclose(np.sort(found.from_reference), np.sort(table.min(axis=1)))
        assert np.allclose(np.sort(found.from_prediction), np.sort(table.min(axis=0)))
    else:
        assert np.isinf(np.append(found.from_reference, found.from_prediction)).all()


def test_many_points_are_measured_as_few(monkeypatch):
    rng = np.random.default_rng(5)
    masks = [rng.random((17, 15, 13)) < p for p in (0.5, 0.3)]
    box, voxels = common_box(*masks)
    pairs = [RegionPair.of(box, *(side.places for side in voxels), (0.7, 1.1, 2.9), 1) for _ in range(2)]
    few = [pairs[0].element_distances(*pairs[0].everything)]
    few += [pairs[0].numbered_element_distances(*_threes(pairs[0]))]
    monkeypatch.setattr("metseg.evaluate.distances._FEW", 0)
    many = [pairs[1].element_distances(*pairs[1].everything)]
    many += [pairs[1].numbered_element_distances(*_threes(pairs[1]))]
    for one, other in zip(few, many):
        assert np.allclose(one.from_reference, other.from_reference)
        assert np.allclose(one.from_prediction, other.from_prediction)


def _threes(pair):
    """Every component is lesion 3, whose inside counts as surface."""
    return [np.where(side.numbers > 0, 3, 0).astype(np.uint32) for side in (pair.reference, pair.prediction)]


@given(hnp.arrays(np.uint8, (4, 3, 2), elements=st.integers(0, 3)))
def test_the_box_holds_every_voxel(array):
    box, (voxels,) = common_box(array)
    assert voxels.values.tolist() == array[array > 0].tolist()
    assert (np.diff(voxels.places) > 0).all()
    assert box.shape[0] <= array.shape[0] + 2
