"""The main job with engines that behave, and with engines that do not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metseg.config.options import SegmentOptions
from metseg.core.errors import ConfigError, InferenceError
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, ProbabilityMap
from metseg.engines.base import OperatingPoint
from metseg.engines.threshold_engine import CARD, ThresholdEngine
from metseg.pipeline.segment import segment
from metseg.testing.phantoms import Box, Ellipsoid, make_phantom

POINTS = CARD.model_copy(
    update={
        "operating_points": {
            "strict": OperatingPoint(threshold=0.9),
            "loose": OperatingPoint(threshold=0.1),
            "sure": OperatingPoint(threshold=0.1, min_confidence=0.9),
        },
        "default_operating_point": "loose",
    }
)


def tilted_grid() -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec((7, -9, 12), degrees=True).as_matrix() @ np.diag([-2.0, 2.2, 2.6])
    affine[:3, 3] = 60, -55, -50
    return Grid((60, 56, 44), affine)


@pytest.fixture(scope="module")
def phantom():
    x, y, z = tilted_grid().to_world((30, 28, 22)).tolist()
    lesions = [
        Ellipsoid.sphere((x + 15, y, z), 16),
        Box((x - 20, y - 5, z), (9, 9, 9)),
        Ellipsoid.sphere((x, y + 22, z + 5), 6),
    ]
    return make_phantom(tilted_grid(), lesions, noise=16)  # the threshold lies half-way up the lesions


class Given(ThresholdEngine):
    """Gives what it is told to."""

    card = POINTS

    def __init__(self, change=lambda array: array, classes=("lesion",)):
        self.change, self.classes = change, classes

    def predict(self, study, *, progress=None):  # noqa: ARG002
        grid = study.grid
        array = np.zeros((len(self.classes), *grid.shape), dtype=np.float32)
        array[0, 20:30, 20:30, 20:24] = 0.5
        array[0, 40:44, 20:22, 20:22] = 0.95
        return ProbabilityMap(self.change(array), grid, self.classes)


def test_lesions_are_found_where_they_are(phantom):
    result = segment(phantom.study, ThresholdEngine(), SegmentOptions())
    assert len(result.lesions) == 3
    for lesion, shape in zip(result.lesions, phantom.lesions, strict=True):
        assert lesion.centre_mm == pytest.approx(shape.centre_mm, abs=0.8)
        assert lesion.volume_mm3 == pytest.approx(shape.volume_mm3, rel=0.3)
        assert 0.5 < lesion.confidence <= 1
    assert (result.segmentation.array > 0).sum() == (result.instances.array > 0).sum()
    both = (result.instances.array > 0) & (phantom.truth.array > 0)
    assert 2 * both.sum() / ((result.instances.array > 0).sum() + (phantom.truth.array > 0).sum()) > 0.85
    assert result.segmentation.labels == {1: "lesion"}
    assert result.probability is None


def test_provenance_says_how(phantom):
    made = segment(phantom.study, ThresholdEngine(), SegmentOptions(engine="threshold", threads=2)).provenance
    assert (made.engine, made.model["name"], made.model["limits"]) == ("threshold", "threshold", list(CARD.limits))
    assert list(made.timings_s) == ["check", "predict", "label", "measure"]
    assert {"metseg", "python", "numpy"} <= set(made.versions)
    assert made.options["threshold"] == 0.5
    assert made.options["operating_point"] == "default"
    json.dumps(made.options)


@pytest.mark.parametrize(
    ("known", "found", "told"), [(None, None, None), (None, False, False), (None, True, True), (True, False, True)]
)
def test_the_result_knows_what_the_engine_found_of_the_skull(phantom, known, found, told):
    class Looking(Given):
        def predict(self, study, *, progress=None):
            return replace(super().predict(study, progress=progress), skull_stripped=found)

    study = replace(phantom.study, skull_stripped=known)
    assert segment(study, Looking(), SegmentOptions()).study.skull_stripped is told


def test_a_prior_that_nobody_measured_tells_of_its_lesions_too(phantom):
    array = np.zeros(phantom.study.grid.shape, dtype=np.uint8)
    array[21:25, 22:24, 21], array[5, 6, 7] = 1, 2
    study = replace(phantom.study, prior=LabelMap(array, phantom.study.grid))
    found, missed = segment(study, Given(), SegmentOptions()).known
    assert (found.status, missed.status) == ("found", "not found")
    assert missed.centre_mm == pytest.approx(study.grid.to_world((5, 6, 7)))
    assert found.volume_mm3 == pytest.approx(8 * 2.0 * 2.2 * 2.6)
    assert segment(phantom.study, Given(), SegmentOptions()).known == ()


@pytest.mark.parametrize(("most", "warned"), [(slice(4, 8), False), (slice(4, 40), True)])
def test_an_implausible_burden_is_warned_of(phantom, most, warned):
    def change(array):
        array[0, most, 5:50, 5:40] = 0.95
        return array

    result = segment(phantom.study, Given(change), SegmentOptions())
    assert any("hardly plausible" in warning for warning in result.provenance.warnings) == warned
    assert (result.lesions.total_volume_mm3 > 150_000) == warned


def test_the_users_folder_of_a_bundle_is_not_told(phantom):
    options = SegmentOptions(engine="threshold", model="/home/someone/bundles/own")
    assert segment(phantom.study, ThresholdEngine(), options).provenance.options["model"] == "threshold"


@pytest.mark.parametrize(
    ("point", "n", "threshold"), [(None, 2, 0.1), ("strict", 1, 0.9), (0.3, 2, 0.3), (0.97, 0, 0.97)]
)
def test_the_operating_point_decides(phantom, point, n, threshold):
    result = segment(phantom.study, Given(), SegmentOptions(operating_point=point))
    assert len(result.lesions) == n
    assert result.provenance.options["threshold"] == threshold


def test_lesions_below_the_confidence_of_the_operating_point_are_gone_everywhere(phantom):
    result = segment(phantom.study, Given(), SegmentOptions(operating_point="sure"))
    (lesion,) = result.lesions
    assert (lesion.id, lesion.confidence) == (1, pytest.approx(0.95))
    expected = np.zeros(phantom.study.grid.shape, dtype=np.uint8)
    expected[40:44, 20:22, 20:22] = 1
    assert np.array_equal(result.segmentation.array, expected)
    assert np.array_equal(result.instances.array, expected)
    assert result.provenance.options["min_confidence"] == 0.9


def test_an_unknown_operating_point_is_refused_before_anything_runs(phantom):
    with pytest.raises(ConfigError, match="no operating point 'lose'"):
        segment(phantom.study, Given(), SegmentOptions(operating_point="lose"))


def test_small_lesions_are_dropped_from_both_maps(phantom):
    voxel = phantom.study.grid.voxel_volume_mm3
    result = segment(phantom.study, Given(), SegmentOptions(min_volume_mm3=17 * voxel))
    assert [lesion.volume_mm3 for lesion in result.lesions] == pytest.approx([400 * voxel])
    assert result.segmentation.array[41, 20, 20] == 0
    assert result.instances.array[41, 20, 20] == 0
    assert len(segment(phantom.study, Given(), SegmentOptions(min_volume_mm3=16 * voxel)).lesions) == 2


def test_the_probability_comes_where_it_is_asked_for(phantom):
    result = segment(phantom.study, Given(), SegmentOptions(formats="json,probability"))
    assert result.probability.array[25, 25, 22] == pytest.approx(0.5)
    assert result.probability.grid is phantom.study.grid


def broken(value):
    def change(array):
        array[0, 3, 3, 3] = value
        return array

    return change


@pytest.mark.parametrize(
    ("engine", "finding"),
    [
        (Given(broken(np.nan)), "not finite"),
        (Given(broken(np.inf)), "not finite"),
        (Given(broken(1.2)), "values from 0 to 1.2"),
        (Given(broken(-0.1)), "values from -0.1"),
        (Given(classes=("tumour",)), "no class called lesion"),
    ],
)
def test_what_is_no_probability_is_refused(phantom, engine, finding):
    with pytest.raises(InferenceError, match=finding):
        segment(phantom.study, engine, SegmentOptions())


def test_an_engine_that_breaks_is_an_inference_error_and_keeps_foreign_text_out(phantom):
    def break_(array):
        raise ValueError("PatientName Secret^Person")

    with pytest.raises(InferenceError, match="failed on study phantom with ValueError") as error:
        segment(phantom.study, Given(break_), SegmentOptions())
    assert "Secret" not in str(error.value)


def test_lack_of_memory_stays_what_it_is(phantom):
    def exhaust(array):
        raise MemoryError

    with pytest.raises(MemoryError):
        segment(phantom.study, Given(exhaust), SegmentOptions())


def test_little_brain_is_a_warning(phantom):
    result = segment(phantom.study, Given(classes=("lesion", "brain")), SegmentOptions())
    assert [w for w in result.provenance.warnings if "only 0 mL of brain" in w]


def test_progress_never_goes_back_and_ends_at_one(phantom):
    seen = []
    segment(phantom.study, ThresholdEngine(), SegmentOptions(), progress=lambda d, t, w: seen.append((d / t, w)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {"checking the image", "labelling", "measuring"} <= {what for _, what in seen}


def test_the_study_is_left_as_it_was(phantom):
    before = phantom.study.images["t1c"].array.copy()
    segment(phantom.study, ThresholdEngine(), SegmentOptions())
    np.testing.assert_array_equal(before, phantom.study.images["t1c"].array)
