"""``check_engine`` names each law that an engine breaks."""

import numpy as np
import pytest

from metseg.core.study import Study
from metseg.core.volume import LabelMap, ProbabilityMap, Volume
from metseg.engines.threshold_engine import ThresholdEngine
from metseg.testing import BrokenLawError, check_engine


class Wrapped(ThresholdEngine):
    """An engine with one fault."""

    def __init__(self, fault):
        self.fault = fault
        self.calls = 0

    def predict(self, study, *, progress=lambda *_: None):
        self.calls += 1
        return self.fault(self, study, progress)


def changed(found, change):
    array = np.array(found.array)
    change(array)
    return ProbabilityMap(array, found.grid, found.classes)


def plain(study, progress=lambda *_: None):
    return ThresholdEngine().predict(study, progress=progress)


def crop(found):
    _, i, j, k = found.array.shape
    return ProbabilityMap(found.array[:, 3:-3], found.grid.crop((3, 0, 0), (i - 6, j, k)), found.classes)


def write_into_image(_, study, progress):
    array = study.images["t1c"].array.base
    array[0, 0, 0] += 1
    return plain(study, progress)


def forgiving(_, study, progress):
    return plain(study if "t1c" in study.images else Study("x", {"t1c": next(iter(study.images.values()))}), progress)


def first_image(_, study, progress):
    plain(study)
    return plain(Study("x", {"t1c": next(iter(study.images.values()))}), progress)


def backwards(_, study, progress):
    progress(1, 1, "x")
    return plain(study, progress)


def crash(_, study, progress):
    if "t1c" not in study.images:
        raise KeyError("t1c")
    return plain(study, progress)


FAULTS = {
    "beyond": lambda _, study, progress: changed(plain(study, progress), lambda a: a.__iadd__(0.5)),
    "not finite": lambda _, study, progress: changed(plain(study, progress), lambda a: a.__imul__(np.nan)),
    "twice": lambda engine, study, progress: changed(
        plain(study, progress), lambda a: a.__imul__(np.float32(1 - 0.1 * engine.calls))
    ),
    "does not cover": lambda _, study, progress: crop(plain(study, progress)),
    "no classes": lambda _, study, progress: ProbabilityMap(
        plain(study, progress).array, plain(study).grid, ("tumour",)
    ),
    "changed the study's image": write_into_image,
    "must be an InputError, but was KeyError": crash,
    "predicted a study that lacks t1c": forgiving,
    "order of the images": first_image,
    "Progress must rise": backwards,
}


class WrappedPreparing(ThresholdEngine):
    """An engine that prepares, and whose second step may change its map."""

    def __init__(self, change, prepare=lambda study: study):
        self.change = change
        self.prepared = prepare

    def prepare(self, study):
        study = self.prepared(study)
        return lambda progress: self.change(self.predict(study, progress=progress))


def with_decision(value):
    def decided(found):
        array = np.full(found.grid.shape, value, dtype=np.uint8)
        return ProbabilityMap(found.array, found.grid, found.classes, LabelMap(array, found.grid))

    return decided


def brighter(study):
    image = study.images["t1c"]
    return Study("brighter", {"t1c": Volume(image.array**1.5, image.grid)})


@pytest.mark.parametrize(
    ("message", "engine"),
    [
        ("probabilities differ when the study was prepared first", WrappedPreparing(lambda it: it, brighter)),
        (
            "1 probabilities differ when the study was prepared first",
            WrappedPreparing(lambda it: changed(it, lambda a: a.flat.__setitem__(5, 0.25))),
        ),
        ("lies elsewhere when the study was prepared first", WrappedPreparing(crop)),
        ("own labels are there or not when the study was prepared first", WrappedPreparing(with_decision(1))),
    ],
)
def test_an_engine_that_prepares_gives_one_map_in_one_step_and_in_two(phantom, message, engine):
    check_engine(WrappedPreparing(lambda found: found), phantom.study)
    with pytest.raises(BrokenLawError, match=message):
        check_engine(engine, phantom.study)


def test_the_models_own_labels_are_the_same_in_two_steps_too(phantom):
    class Deciding(WrappedPreparing):
        def predict(self, study, *, progress=lambda *_: None):
            return with_decision(1)(super().predict(study, progress=progress))

    check_engine(Deciding(lambda found: found), phantom.study)
    voxels = np.prod(plain(phantom.study).grid.shape)
    with pytest.raises(BrokenLawError, match=f"^{voxels} of the model's own labels differ when the study was prepared"):
        check_engine(Deciding(with_decision(2)), phantom.study)


@pytest.mark.parametrize("message", FAULTS)
def test_each_broken_law_is_named(message, phantom):
    image = np.array(phantom.study.images["t1c"].array)
    study = Study("writable", {"t1c": Volume(image, phantom.study.grid)})
    with pytest.raises(BrokenLawError, match=message):
        check_engine(Wrapped(FAULTS[message]), study)
