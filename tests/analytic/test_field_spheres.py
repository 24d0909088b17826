"""Profile field on balls, where Dice, surface Dice, Hausdorff distance and volume are known in closed form."""

import math

import numpy as np
import pytest

from metseg.core.grid import Grid
from metseg.evaluate.bootstrap import BootstrapOptions, Resampling
from metseg.evaluate.field import FieldOptions, score_case, summarise
from metseg.testing.phantoms import Ellipsoid, draw_mask

OPTIONS = FieldOptions(bootstrap=BootstrapOptions(resamples=200))
GRID = Grid.isotropic((64, 60, 56), 0.5, (-16, -15, -14))


def ball(radius_mm, centre_mm=(0.0, 0.0, 0.0)):
    return draw_mask(Ellipsoid.sphere(centre_mm, 2 * radius_mm), GRID)


def lens_volume(radius, distance):
    """Shared volume of two equal balls."""
    return math.pi * (4 * radius + distance) * (2 * radius - distance) ** 2 / 12


@pytest.mark.parametrize("distance", [1.0, 3.0, 6.0])
def test_two_equal_balls_apart(distance):
    (lesion,) = score_case(ball(8.0, (distance, 0.0, 0.0)), ball(8.0), GRID, OPTIONS).lesions
    assert lesion.dice == pytest.approx(lens_volume(8, distance) / (4 / 3 * math.pi * 8**3), abs=0.01)
    assert lesion.volume_error_mm3 == pytest.approx(0, abs=1e-6)
    # A point at polar angle a on one sphere lies d·|cos a| from the other, nearly: 95 % of the area within d·0.95.
    assert lesion.hd95_mm == pytest.approx(0.95 * distance, abs=0.4)
    # So the share of the area within t is t/d, and all of it from t = d on.
    for key, tolerance in (("0.5", 0.5), ("1", 1.0), ("2", 2.0)):
        # Digitised distances are multiples of half a millimetre, so a tolerance reaches up to half of that further.
        low, high = (min(1.0, (tolerance + reach) / distance) for reach in (0, 0.25))
        for found in (lesion.nsd_element[key], lesion.nsd_border[key]):
            assert low - 0.12 <= found <= high + 0.12


@pytest.mark.parametrize("growth", [1.0, 2.0])
def test_a_ball_in_a_ball(growth):
    (lesion,) = score_case(ball(6.0 + growth), ball(6.0), GRID, OPTIONS).lesions
    assert lesion.dice == pytest.approx(2 * 6**3 / (6**3 + (6 + growth) ** 3), abs=0.01)
    assert lesion.hd95_mm == pytest.approx(growth, abs=0.3)
    assert lesion.volume_error_mm3 == pytest.approx(4 / 3 * math.pi * ((6 + growth) ** 3 - 6**3), rel=0.04)
    # Nothing lies nearer than the gap.
    assert lesion.nsd_element["0.5"] < 0.25
    if growth == 1.0:
        assert lesion.nsd_element["2"] == lesion.nsd_border["2"] == 1


def test_sensitivity_by_diameter_is_that_of_the_balls():
    """Balls of 2, 4, 7 and 12 mm, of which those from 4 mm on are found: 4 mm ones in every second patient."""
    centres = [(-11.0, -9.0, -8.0), (-11.0, 9.0, 0.0), (9.0, 9.0, 7.0), (6.0, -6.0, -4.0)]
    balls = [ball(d / 2, centre) for d, centre in zip((2.0, 4.0, 7.0, 12.0), centres)]
    cases = [
        (f"p{i}", score_case(np.logical_or.reduce(balls[1 + i % 2 :]), np.logical_or.reduce(balls), GRID, OPTIONS))
        for i in range(6)
    ]
    found = summarise(cases, OPTIONS)
    assert [(b.lesions, b.found) for b in found.by_diameter] == [(6, 0), (6, 3), (6, 6), (6, 6)]
    assert found.numbers["sensitivity_per_lesion"].value == pytest.approx(15 / 24)
    assert found.numbers["fp_per_patient"].value == 0
    middle = found.by_diameter[1].sensitivity
    assert (middle.value, middle.low < 0.5 < middle.high) == (0.5, True)
    assert found.lesion_volume.concordance.value == pytest.approx(1)


def test_a_coin_toss_interval_covers_as_often_as_it_says():
    """Patients whose lesions are all found or all missed: of 200 cohorts about 95 % of intervals hold the truth."""
    rng = np.random.default_rng(12)
    covered = 0
    for _ in range(200):
        lesions = rng.integers(1, 9, 60)
        found = lesions * (rng.random(60) < 0.7)
        interval = Resampling.draw(60, BootstrapOptions(resamples=400)).ratio(
            found.astype(float), lesions.astype(float), ""
        )
        covered += interval.low <= 0.7 <= interval.high
    assert 0.89 <= covered / 200 <= 0.98
