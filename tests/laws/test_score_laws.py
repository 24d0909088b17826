"""What must hold of the scores, whatever the label maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metseg.evaluate import brats2023, brats2024, brats2025, panoptic, surface

SPACING = (0.9, 1.3, 2.1)


@st.composite
def label_pairs(draw):
    """Two label maps of one shape: boxes of the four labels, the second one shifted and disturbed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    shape = tuple(rng.integers(8, 15, 3))
    reference = np.zeros(shape, dtype=np.uint8)
    for _ in range(draw(st.integers(0, 7))):
        start = [int(rng.integers(0, size)) for size in shape]
        reference[tuple(slice(at, at + int(rng.integers(1, 5))) for at in start)] = rng.integers(1, 5)
    prediction = np.roll(reference, draw(st.integers(-1, 1)), axis=draw(st.integers(0, 2)))
    noise = rng.random(shape) < 0.01
    prediction[noise] = rng.integers(0, 5, int(noise.sum()))
    return prediction, reference


def numbers(scores) -> dict[str, float]:
    return {f"{region}.{name}": value for region, row in scores.items() for name, value in row.items()}


@given(label_pairs())
@settings(max_examples=15)
def test_bounds(labels):
    one, two = brats2023.score_case(*labels, SPACING), brats2024.score_case(*labels, SPACING)
    for name, value in {**numbers(one.regions), **numbers(two.regions), **numbers(two.legacy)}.items():
        assert value >= 0, name
        if any(word in name for word in ("Dice", "NSD", "Sens", "Spec")):
            assert value <= 1, name
    diagonal = np.linalg.norm(labels[0].shape)
    assert all(row["LesionWise_Score_HD95"] <= 374 for row in one.regions.values())
    assert all(row["LesionWise_Score_HD95"] <= diagonal * max(SPACING) for row in two.regions.values())


@given(label_pairs())
@settings(max_examples=15)
def test_a_perfect_prediction(labels):
    reference = labels[1]
    for name, value in numbers(brats2023.score_case(reference, reference, SPACING).regions).items():
        if "Dice" in name or "Sens" in name or "Spec" in name:
            assert value == pytest.approx(1), name
        if "HD95" in name or "Num_F" in name:
            assert value == 0, name
    for name, value in brats2025.score_case(reference, reference, SPACING).row.items():
        if "lesionwise_dsc_mean" in name or ("f1" in name and "large" not in name):
            assert value == pytest.approx(1) or np.isnan(value), name


@given(label_pairs(), st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=10)
def test_where_the_lesions_lie_does_not_matter(labels, before, axis):
    # Not at the very edge: what is dilated ends there, and by that 2024 numbers its lesions.
    wide = [np.pad(side, [(before, 4 - before) if a == axis else (2, 2) for a in range(3)]) for side in labels]
    here = [np.pad(side, [(1, 3)] * 3) for side in labels]
    assert brats2023.score_case(*wide, SPACING).lesions == brats2023.score_case(*here, SPACING).lesions
    assert brats2024.score_case(*wide, SPACING) == brats2024.score_case(*here, SPACING)
    first, second = (brats2025.score_case(*pair, SPACING).row for pair in (wide, here))
    assert np.array_equal(list(first.values()), list(second.values()), equal_nan=True)


@given(label_pairs(), st.permutations(range(3)))
@settings(max_examples=10)
def test_axes_may_be_swapped_with_their_spacing(labels, order):
    swapped = [side.transpose(order) for side in labels]
    spacing = tuple(SPACING[axis] for axis in order)
    here, there = brats2023.score_case(*labels, SPACING), brats2023.score_case(*swapped, spacing)
    assert numbers(there.regions) == pytest.approx(numbers(here.regions), rel=1e-9)
    masks = [[side > 0 for side in pair] for pair in (labels, swapped)]
    blocks = [surface.surface_block(*pair, of) for pair, of in zip(masks, (SPACING, spacing))]
    assert blocks[0] == pytest.approx(blocks[1], rel=1e-9, nan_ok=True)


@given(label_pairs(), st.sampled_from((0.25, 3.0)))
@settings(max_examples=10)
def test_distances_scale_with_the_spacing(labels, factor):
    masks = [side > 0 for side in labels]
    larger = tuple(factor * length for length in SPACING)
    for distance in (surface.hd95, surface.hd100, surface.pooled_hd95):
        assert distance(*masks, larger) == pytest.approx(factor * distance(*masks, SPACING), nan_ok=True)
    for nsd in (surface.element_nsd, surface.border_nsd):
        assert nsd(*masks, larger, factor) == pytest.approx(nsd(*masks, SPACING, 1.0), nan_ok=True)


@given(label_pairs())
@settings(max_examples=10)
def test_surfaces_are_symmetric_and_nsd_grows_with_the_tolerance(labels):
    one, other = (side == 3 for side in labels)
    for distance in (surface.hd95, surface.hd100, surface.pooled_hd95):
        assert distance(one, other, SPACING) == pytest.approx(distance(other, one, SPACING), nan_ok=True)
    for nsd in (surface.element_nsd, surface.border_nsd):
        assert nsd(one, other, SPACING, 1.0) == pytest.approx(nsd(other, one, SPACING, 1.0), nan_ok=True)
        values = [nsd(one, other, SPACING, tolerance) for tolerance in (0.0, 0.5, 1.0, 2.0, 5.0)]
        assert np.isnan(values).all() or (np.diff(values) >= 0).all()


@given(label_pairs())
@settings(max_examples=15)
def test_matching_and_its_score_are_symmetric(labels):
    one, other = (np.isin(side, (1, 3)) for side in labels)
    there, back = panoptic.panoptic_block(one, other), panoptic.panoptic_block(other, one)
    swap = {"fp": "fn", "fn": "fp", "prec": "rec", "rec": "prec"}
    swap |= {"n_ref_instances": "n_pred_instances", "n_pred_instances": "n_ref_instances"}
    for name, block in there.items():
        turned = {swap.get(field, field): value for field, value in back[name].items()}
        assert turned == pytest.approx(block, nan_ok=True)
