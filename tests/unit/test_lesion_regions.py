"""Parts of the brain: landmarks that every atlas of its surface shows, and how sure a place is."""

import numpy as np
import pytest

from metseg.core.lesion import REGIONS, Location
from metseg.lesions.regions import region_numbers, region_shares

# RAS+ millimetres of the ICBM 152 average, right side: well inside each part.
LANDMARKS = {
    "frontal pole": ((25, 58, 5), "frontal lobe"),
    "middle frontal gyrus": ((40, 32, 32), "frontal lobe"),
    "straight gyrus": ((6, 36, -22), "frontal lobe"),
    "supplementary motor area": ((6, 2, 62), "frontal lobe"),
    "precentral gyrus, foot": ((56, 6, 28), "frontal lobe"),
    "postcentral gyrus, hand": ((44, -36, 58), "parietal lobe"),
    "supramarginal gyrus": ((58, -38, 38), "parietal lobe"),
    "angular gyrus": ((46, -60, 40), "parietal lobe"),
    "precuneus": ((8, -60, 48), "parietal lobe"),
    "temporal pole": ((38, 12, -34), "temporal lobe"),
    "middle temporal gyrus": ((60, -30, -8), "temporal lobe"),
    "amygdala": ((23, -4, -19), "temporal lobe"),
    "hippocampus": ((28, -24, -13), "temporal lobe"),
    "calcarine cortex": ((10, -84, 6), "occipital lobe"),
    "occipital pole": ((20, -98, 2), "occipital lobe"),
    "insula": ((38, 4, 0), "insula"),
    "putamen": ((26, 4, 2), "basal ganglia"),
    "head of the caudate": ((12, 14, 8), "basal ganglia"),
    "thalamus": ((10, -19, 8), "thalamus"),
    "midbrain": ((5, -22, -12), "brainstem"),
    "pons": ((6, -26, -34), "brainstem"),
    "medulla": ((3, -42, -58), "brainstem"),
    "vermis": ((2, -64, -24), "cerebellum"),
    "cerebellar hemisphere": ((32, -66, -40), "cerebellum"),
    "cerebellar tonsil": ((10, -52, -50), "cerebellum"),
}


@pytest.mark.parametrize("name", LANDMARKS)
def test_landmarks_lie_in_their_part_on_both_sides(name):
    place, region = LANDMARKS[name]
    both = np.array([place, place], dtype=np.float64) * [[1, 1, 1], [-1, 1, 1]]
    assert [REGIONS[n] for n in region_numbers(both)] == [region, region]


def test_every_part_can_be_the_answer():
    points = np.stack(np.meshgrid(*[np.arange(-78.0, 79, 4)] * 3), axis=-1).reshape(-1, 3)
    assert set(region_numbers(points)) == set(range(len(REGIONS)))


def test_shares_are_those_of_a_normal_distribution_beside_a_flat_border():
    # The border in front of the occipital lobe is steep here; 1 standard deviation in front of it, 16 % lie behind.
    line = np.array([(45.0, y, 38.0) for y in np.arange(-90, -60, 0.1)])
    border = line[region_numbers(line) == REGIONS.index("occipital lobe")].max(axis=0)
    shares = region_shares(border + np.array((0, 5, 0)), 5.0)
    assert shares["occipital lobe"] == pytest.approx(0.16, abs=0.03)
    assert shares["parietal lobe"] == pytest.approx(0.84, abs=0.03)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert region_shares(np.array((25.0, 58.0, 5.0)), 5.0) == {"frontal lobe": pytest.approx(1)}


def test_words():
    assert Location(("frontal lobe",), 1.0).words == "frontal lobe"
    assert Location(("parietal lobe", "frontal lobe"), 0.9).words == "parietal or frontal lobe"
    assert Location(("temporal lobe", "insula"), 0.9).words == "temporal lobe or insula"
    assert Location(("cerebellum",), 0.9).words == "cerebellum"
