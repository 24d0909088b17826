"""How many metastases, how large, of what kind and where: the shares that were published, over many draws."""

import numpy as np
import pytest

from metseg.synthesis.cohort import (
    COMPARTMENTS,
    draw_kind,
    draw_patient_count,
    draw_patient_diameter,
    draw_training_count,
    draw_training_diameter,
)
from metseg.synthesis.sites import Sites, in_watershed
from metseg.synthesis.tissues import Tissue

N = 3000


def tolerance(share, n=N):
    """Four standard errors of a share of ``n`` draws."""
    return 4 * np.sqrt(share * (1 - share) / n)


def assert_shares(values, bounds, shares):
    for (low, high), share in zip(bounds, shares):
        found = np.mean((values >= low) & (values < high))
        assert found == pytest.approx(share, abs=tolerance(share, len(values))), (low, high)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(1)
    return np.array([draw_patient_count(rng) for _ in range(N)])


@pytest.fixture(scope="module")
def diameters():
    rng = np.random.default_rng(2)
    return np.array([draw_patient_diameter(rng) for _ in range(N)])


def test_counts_follow_the_table(counts):
    assert_shares(counts, ((1, 2), (2, 4), (4, 11), (11, 21), (21, 61)), (0.40, 0.26, 0.24, 0.07, 0.03))
    assert counts.min() == 1
    assert 45 <= counts.max() <= 60


def test_most_patients_have_one_to_three_and_few_have_many(counts):
    assert 0.6 < np.mean(counts <= 3) < 0.72
    assert 0.02 < np.mean(counts > 20) < 0.04
    assert 3 < counts.mean() < 6
    times = np.bincount(counts, minlength=62)
    assert (times[1:11] > 0).all()  # none is left out
    assert times[3] / (times[2] + times[3]) == pytest.approx(np.log(3.49 / 2.5) / np.log(3.49 / 1.51), abs=0.08)
    assert times[4] > times[10] > 0


def test_diameters_follow_the_table(diameters):
    bounds = ((2, 3), (3, 5), (5, 10), (10, 20), (20, 45))
    assert_shares(diameters, bounds, (0.12, 0.25, 0.33, 0.20, 0.10))
    assert diameters.min() >= 2
    assert diameters.max() <= 45


def test_most_lesions_are_smaller_than_a_centimetre(diameters):
    assert 0.65 < np.mean(diameters < 10) < 0.75
    assert 5 < np.median(diameters) < 9


def test_training_wants_more_lesions_and_larger_ones_but_leaves_scenes_empty(counts, diameters):
    rng, n = np.random.default_rng(3), 2000
    training = np.array([draw_training_count(rng) for _ in range(n)])
    assert np.mean(training == 0) == pytest.approx(0.22, abs=tolerance(0.22, n))
    assert np.median(training) >= np.median(counts)
    sizes = np.array([draw_training_diameter(rng) for _ in range(n)])
    assert_shares(sizes, ((2, 6), (6, 14), (14, 28), (28, 62)), (0.30, 0.30, 0.22, 0.18))
    assert np.mean(sizes > 20) > 2 * np.mean(diameters > 20)


@pytest.mark.parametrize(("diameter", "solid"), [(2.5, 0.9), (8.0, 0.55), (25.0, 0.28)])
def test_the_larger_a_lesion_the_rarer_is_it_solid(diameter, solid):
    rng, n = np.random.default_rng(4), 2000
    kinds = [draw_kind(rng, diameter) for _ in range(n)]
    assert kinds.count("solid") / n == pytest.approx(solid, abs=tolerance(solid, n))
    assert kinds.count("ring") > 2 * kinds.count("cyst") > 0


def test_the_shares_of_the_compartments_are_all_there_is():
    assert sum(COMPARTMENTS.values()) == pytest.approx(1)


def head_of_blocks():
    """All compartments side by side, along an axis of 44: tissues that tell which compartment a site was drawn for."""
    tissues = np.zeros((44, 20, 17), dtype=np.uint8)
    tissues[:10] = Tissue.WHITE
    tissues[10:20] = Tissue.CORTEX
    tissues[20:28] = Tissue.CEREBELLAR_CORTEX
    tissues[28:34] = Tissue.BRAINSTEM
    tissues[34:36] = Tissue.FLUID
    tissues[36:40] = Tissue.BONE
    return tissues


def draw_sites(sites, n, seed=5):
    rng = np.random.default_rng(seed)
    return np.array([sites.draw(rng) for _ in range(n)])


def test_sites_follow_the_shares_of_the_compartments():
    tissues, n = head_of_blocks(), 600
    drawn = tissues[tuple(draw_sites(Sites.of(tissues), n).T)]
    for compartment, kinds in {
        "supratentorial": (Tissue.WHITE, Tissue.CORTEX), "cerebellum": (Tissue.CEREBELLAR_CORTEX,),
        "brainstem": (Tissue.BRAINSTEM,), "surface": (Tissue.FLUID,),
    }.items():  # fmt: skip
        share = COMPARTMENTS[compartment]
        assert np.isin(drawn, kinds).mean() == pytest.approx(share, abs=tolerance(share, n) + 0.01), compartment


def test_where_a_compartment_is_missing_the_others_share_its_part():
    tissues, n = head_of_blocks(), 400
    tissues[:20] = Tissue.AIR  # no cerebrum: its fluid is left, and takes its share
    tissues[34:36] = Tissue.AIR
    drawn = tissues[tuple(draw_sites(Sites.of(tissues), n).T)]
    share = 0.15 / 0.18
    assert np.mean(drawn == Tissue.CEREBELLAR_CORTEX) == pytest.approx(share, abs=tolerance(share, n))
    assert Sites.of(np.full((4, 5, 6), Tissue.BONE, dtype=np.uint8)).draw(np.random.default_rng(0)) is None


@pytest.fixture(scope="module")
def across_the_border():
    """Sites along the axis that crosses the border of white matter (0 … 19) and cortex (20 … 39)."""
    tissues = np.full((40, 22, 18), Tissue.WHITE, dtype=np.uint8)
    tissues[20:] = Tissue.CORTEX
    return draw_sites(Sites.of(tissues), 800)[:, 0]


def test_sites_gather_at_the_border_of_grey_and_white_matter(across_the_border):
    at = np.isin(across_the_border, (18, 19, 20, 21)).sum() / 4
    away = np.isin(across_the_border, (*range(5, 15), *range(25, 35))).sum() / 20
    assert 2.2 < at / away < 4.8  # one in 0.3


def test_sites_prefer_grey_to_white_matter_as_their_weights_say(across_the_border):
    assert np.mean(across_the_border >= 20) == pytest.approx(1 / 1.7, abs=0.05)


def test_sites_gather_in_the_watershed_zones():
    tissues = np.full((40, 22, 18), Tissue.DEEP_GREY, dtype=np.uint8)
    sites = Sites.of(tissues, lambda voxel: (0.3 if voxel[0] < 20 else 0.0, 0.0, 0.5))
    drawn = draw_sites(sites, 500)[:, 0]
    assert np.mean(drawn < 20) == pytest.approx(1 / 1.65, abs=0.08)


@pytest.mark.parametrize(
    ("position", "inside"),
    [
        ((0.3, 0.2, 0.6), True), ((-0.3, 0.2, 0.6), True), ((0.3, 0.2, 0.0), False), ((0.1, 0.2, 0.6), False),
        ((0.6, 0.2, 0.6), False), ((0.6, -0.6, 0.1), True), ((-0.6, -0.6, 0.1), True), ((0.6, -0.9, 0.1), False),
        ((0.6, -0.6, -0.4), False), ((0.2, -0.6, 0.1), False),
    ],
)  # fmt: skip
def test_the_watershed_lies_beside_the_midline_in_front_and_behind_the_ears(position, inside):
    assert in_watershed(position) == inside


def test_sites_on_the_surface_lie_within_three_voxels_of_bone():
    rng = np.random.default_rng(6)
    tissues = rng.choice((Tissue.FLUID, Tissue.WHITE), (30, 26, 22)).astype(np.uint8)
    tissues[:, :4] = Tissue.BONE
    tissues[25:] = Tissue.AIR
    sites = Sites.of(tissues)
    index, chance = sites._places["surface"]
    places = np.array(np.unravel_index(index, tissues.shape)).T
    assert set(tissues[tuple(places.T)].tolist()) == {int(Tissue.FLUID)}
    assert set(places[:, 1].tolist()) == {4, 5, 6}
    assert len(places) == np.count_nonzero(tissues[:, 4:7] == Tissue.FLUID)
    np.testing.assert_array_equal(np.diff(chance), 1)


def test_only_tissues_of_the_brain_and_its_fluid_are_sites():
    tissues = np.random.default_rng(7).integers(0, 18, (24, 20, 22)).astype(np.uint8)
    drawn = set(tissues[tuple(draw_sites(Sites.of(tissues), 300).T)].tolist())
    barred = {Tissue.AIR, Tissue.VENTRICLE, Tissue.CHOROID, *range(Tissue.SINUS, Tissue.NECK_VESSEL + 1)}
    assert not drawn & {int(t) for t in barred}
    assert len(drawn) == 7
