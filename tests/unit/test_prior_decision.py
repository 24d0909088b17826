"""What known lesions change in the decision, and what they leave as it is."""

from dataclasses import replace

import numpy as np
import pytest

from metseg.config.options import SegmentOptions
from metseg.core.volume import LabelMap, ProbabilityMap
from metseg.engines.base import Calibration, OperatingPoint
from metseg.engines.threshold_engine import CARD, ThresholdEngine
from metseg.lesions.confidence import platt
from metseg.lesions.known import near_known
from metseg.pipeline.prior import eased
from metseg.pipeline.segment import segment
from metseg.testing.phantoms import make_phantom
from unit.test_pipeline_segment import tilted_grid

POINTS = {
    "plain": OperatingPoint(threshold=0.5),
    "sure": OperatingPoint(threshold=0.1, min_confidence=0.6),
    "own": OperatingPoint(threshold=None),
}
FAINT, BRIGHT, ELSEWHERE = np.s_[20:26, 20:25, 20:23], np.s_[40:44, 20:22, 20:22], np.s_[10:12, 40:42, 30:32]
MANY = {"labels": {1: "core", 2: "oedema", 3: "rim"}, "lesion": (3, 1)}


class Given(ThresholdEngine):
    """One lesion of 0.3 and one of 0.9 in noise below 0.04; nnU-Net's kind of decision, where it is asked for."""

    def __init__(self, **card):
        self.card = CARD.model_copy(update={"operating_points": POINTS, "default_operating_point": "plain", **card})

    def predict(self, study, *, progress=None):  # noqa: ARG002
        array = np.random.default_rng(3).random((1, *study.grid.shape), dtype=np.float32) / 25
        array[0][FAINT], array[0][BRIGHT] = 0.3, 0.9
        labels = np.zeros(study.grid.shape, dtype=np.uint8)
        labels[BRIGHT] = 1
        labels[20, 20:25, 20:23] = 2  # part of the faint lesion is called oedema
        decision = LabelMap(labels, study.grid, dict(self.card.labels))
        return ProbabilityMap(array, study.grid, ("lesion",), decision)


@pytest.fixture(scope="module")
def study():
    return make_phantom(tilted_grid(), []).study


def with_known(study, *places):
    known = np.zeros(study.grid.shape, dtype=np.uint32)
    for number, place in enumerate(places, 1):
        known[place] = number
    return replace(study, prior=LabelMap(known, study.grid))


def found(study, point="plain", **card):
    return segment(study, Given(**card), SegmentOptions(operating_point=point))


def test_half_of_everything():
    assert eased(OperatingPoint(threshold=0.4, min_confidence=0.7)) == (0.2, 0.35)
    assert eased(OperatingPoint(threshold=None)) == (0.25, 0.0)


@pytest.mark.parametrize("voxel", [(22, 22, 21), (22, 22, 23)])  # within it; a slice of 2.6 mm from it
def test_a_faint_lesion_is_found_where_one_is_known_and_only_there(study, voxel):
    place = tuple(slice(n, n + 1) for n in voxel)
    assert [lesion.known for lesion in found(study).lesions] == [None]
    wrong = found(with_known(study, ELSEWHERE))
    assert [lesion.known for lesion in wrong.lesions] == [False]
    assert np.array_equal(wrong.segmentation.array, found(study).segmentation.array)
    guided = found(with_known(study, place))
    near = near_known(with_known(study, place).prior, 3.0)
    expected = np.zeros(study.grid.shape, dtype=np.uint8)
    expected[BRIGHT] = 1
    assert near[FAINT].any()
    expected[FAINT] = near[FAINT]
    assert np.array_equal(guided.segmentation.array, expected)
    assert sorted(lesion.confidence for lesion in guided.lesions) == pytest.approx([0.3, 0.9])


def test_far_from_known_lesions_nothing_changes_bit_for_bit():
    phantom = make_phantom(tilted_grid(), [], noise=60)  # dozens of components
    x = phantom.study
    plain = segment(x, ThresholdEngine(), SegmentOptions(operating_point=0.05))
    guided = segment(with_known(x, FAINT, BRIGHT), ThresholdEngine(), SegmentOptions(operating_point=0.05))
    near = near_known(with_known(x, FAINT, BRIGHT).prior, 3.0)
    assert len(plain.lesions) > 20
    assert np.array_equal(plain.segmentation.array[~near], guided.segmentation.array[~near])
    assert (guided.segmentation.array[near] > plain.segmentation.array[near]).any()
    assert (guided.segmentation.array[near] >= plain.segmentation.array[near]).all()
    own = {(n.centre_mm, n.volume_mm3, n.confidence) for n in guided.lesions}
    apart = [n for n in plain.lesions if not near[plain.instances.array == n.id].any()]
    untouched = [n for n in apart if (n.centre_mm, n.volume_mm3, n.confidence) in own]
    grown = [n for n in apart if n not in untouched]
    assert len(untouched) > 10
    for lesion in grown:  # only by what is near
        here = guided.instances.array[plain.instances.array == lesion.id]
        assert len(np.unique(here)) == 1
        assert near[guided.instances.array == here[0]].any()


def test_near_known_lesions_half_of_the_smallest_confidence_is_enough(study):
    assert [n.confidence for n in found(study, "sure").lesions] == pytest.approx([0.9])
    assert [n.confidence for n in found(with_known(study, ELSEWHERE), "sure").lesions] == pytest.approx([0.9])
    guided = found(with_known(study, FAINT), "sure")
    assert [(n.confidence, n.known) for n in guided.lesions] == [
        (pytest.approx(0.3), True),
        (pytest.approx(0.9), False),
    ]
    assert (guided.instances.array[FAINT] == 1).all()


@pytest.mark.parametrize(("offset", "n"), [(0.9, 2), (0.8, 1)])  # 0.3 becomes 0.51 and 0.49; half of 1 - 1e-9 is asked
def test_the_smallest_confidence_is_a_calibrated_one(study, offset, n):
    chance = Calibration(slope=1.0, offset=offset)
    points = {"plain": OperatingPoint(threshold=0.1, min_confidence=0.999)}
    asked = found(with_known(study, FAINT, BRIGHT), calibration=chance, operating_points=points)
    assert len(asked.lesions) == n
    assert (platt(np.array(0.3), 1.0, offset) >= 0.4995) == (n == 2)


def test_a_model_that_decides_gets_its_first_label_of_lesion_near_known_ones(study):
    plain = found(study, "own", **MANY).segmentation
    guided = found(with_known(study, np.s_[22:23, 22:23, 21:22]), "own", **MANY).segmentation
    near = near_known(with_known(study, np.s_[22:23, 22:23, 21:22]).prior, 3.0)
    expected = np.array(plain.array)
    assert (expected[20, 20:25, 20:23] == 2).all()
    inner = np.zeros_like(near)
    inner[FAINT] = True
    expected[inner & near] = 3
    assert np.array_equal(guided.array, expected)
    assert guided.labels == MANY["labels"]
    kept = found(with_known(study, BRIGHT), "own", **MANY).segmentation
    assert np.array_equal(kept.array, plain.array)  # what is lesion already keeps its label
