"""Platt's map by hand, and lesions whose confidence it changes."""

import numpy as np
import pytest

from metseg.config.options import SegmentOptions
from metseg.core.lesion import Lesion, LesionTable
from metseg.core.volume import ProbabilityMap
from metseg.engines.base import Calibration, OperatingPoint
from metseg.engines.threshold_engine import CARD, ThresholdEngine
from metseg.lesions.confidence import calibrate, platt
from metseg.pipeline.segment import segment
from metseg.testing.phantoms import Ellipsoid, make_phantom


def test_platt_by_hand():
    # logit(0.8) = ln 4; slope 0.5 gives ln 2, offset ln 3 gives ln 6: 6/7
    assert platt(np.array([0.8]), 0.5, np.log(3))[0] == pytest.approx(6 / 7)
    assert platt(np.array([0.2, 0.5, 0.9]), 1.0, 0.0) == pytest.approx([0.2, 0.5, 0.9])
    ends = platt(np.array([0.0, 1.0]), 2.0, -1.0)
    assert 0 < ends[0] < 1e-6
    assert 1 - 1e-6 < ends[1] < 1


def lesion(number, confidence):
    box = ((0, 0, 0), (1, 1, 1))
    return Lesion(number, 10.0 - number, 1, 1, 1, (0, 0, 0), (0, 0, 0), 0, box, confidence)


def test_lesions_keep_their_order_and_those_without_confidence_keep_none():
    table = calibrate(LesionTable((lesion(1, 0.8), lesion(2, None), lesion(3, 0.5))), 0.5, np.log(3))
    assert [n.confidence for n in table] == [pytest.approx(6 / 7), None, pytest.approx(3 / 4)]
    assert [n.volume_mm3 for n in table] == [9.0, 8.0, 7.0]


class Unsure(ThresholdEngine):
    """Half sure of one box, whatever it sees."""

    card = CARD.model_copy(
        update={
            "operating_points": {"point": OperatingPoint(threshold=0.3, min_confidence=0.7)},
            "default_operating_point": "point",
        }
    )

    def predict(self, study, *, progress=None):  # noqa: ARG002
        array = np.zeros((1, *study.grid.shape), dtype=np.float32)
        array[0, 4:7, 4:7, 2:5] = 0.5
        return ProbabilityMap(array, study.grid, ("lesion",))


def test_the_smallest_confidence_is_compared_with_the_calibrated_one(oblique_grid):
    study = make_phantom(oblique_grid, [Ellipsoid.sphere((0, 0, 0), 9)]).study
    engine = Unsure()
    assert len(segment(study, engine, SegmentOptions()).lesions) == 0
    engine.card = Unsure.card.model_copy(update={"calibration": Calibration(slope=1.0, offset=np.log(3))})
    (found,) = segment(study, engine, SegmentOptions()).lesions
    assert found.confidence == pytest.approx(0.75)
