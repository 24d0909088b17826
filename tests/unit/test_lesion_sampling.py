"""Patches by lesion: where lesions are, and how often each is looked at."""

import numpy as np
import pytest

from metseg.training.nnunet.lesion_sampling import ByLesion, lesion_places

SHAPE = (40, 36, 30)


def labels():
    """A lesion of 4 voxels, one of 4000 (20 × 20 × 10) with oedema (2) around it, on a grid that is no cube."""
    found = np.zeros(SHAPE, np.int8)
    found[12:36, 12:36, 12:26] = 2
    found[14:34, 14:34, 14:24] = 1
    found[5, 6, 7:11] = 1
    return found


class Study:
    """What nnU-Net's data set has of one study."""

    identifiers = ("case",)

    def __init__(self):
        self.reads = 0
        self.voxels = {value: np.argwhere(labels()[np.newaxis] == value) for value in (1, 2)}
        self.voxels[(-1, 0, 1, 2)] = np.argwhere(labels()[np.newaxis] >= 0)

    def load_case(self, identifier):
        assert identifier == "case"
        self.reads += 1
        return np.zeros((1, *SHAPE), np.float32), labels()[np.newaxis], None, {"class_locations": self.voxels, "a": 1}


def test_places_are_the_voxels_of_each_component():
    places = lesion_places(labels() == 1, most=5000)
    assert {number: len(at) for number, at in places.items()} == {1: 4000, 2: 4}
    assert places[2].tolist() == [[0, 5, 6, k] for k in range(7, 11)]
    assert np.unique(places[1], axis=0).shape == (4000, 4)
    assert (labels()[tuple(places[1][:, 1:].T)] == 1).all()


def test_of_a_large_lesion_some_voxels_are_kept_evenly():
    places = lesion_places(labels() == 1, most=300)
    assert len(places[1]) == 286  # each 14th
    assert np.allclose(places[1][:, 1:].mean(0), [23.5, 23.5, 18.5], atol=0.6)
    assert lesion_places(np.zeros(SHAPE, bool)) == {}


def test_the_keys_are_lesions_and_what_somebody_looked_at():
    image, seen, before, known = ByLesion(Study(), (1,)).load_case("case")
    assert (image.shape, before, known["a"]) == ((1, *SHAPE), None, 1)
    assert set(known["class_locations"]) == {1, 2, (-1, 0, 1, 2)}
    assert (seen[0] == labels()).all()


def test_labels_that_belong_together_are_one_lesion():
    known = ByLesion(Study(), (2, 1)).load_case("case")[3]["class_locations"]
    numbers = {key: len(at) for key, at in known.items() if not isinstance(key, tuple)}
    assert numbers == {1: 24 * 24 * 14 // 17 + 1, 2: 4}  # 8064 voxels, each 17th of them


def test_a_study_without_lesions_stays_as_it_is():
    study = Study()
    assert ByLesion(study, (7,)).load_case("case")[3]["class_locations"] is study.voxels


def test_each_lesion_is_the_centre_as_often_however_small():
    """By nnU-Net's own loader. By voxel the small one would have 1 patch in 2000, were there no oedema."""
    pytest.importorskip("torch", reason="torch is not installed (the train extra)")
    pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (the train extra)")
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    manager = LabelManager({"background": 0, "tumour": 1, "oedema": 2}, None)

    def shares(dataset):
        loader = nnUNetDataLoader(dataset, 2, (8, 8, 8), (8, 8, 8), manager, oversample_foreground_percent=1.0)
        np.random.seed(5)  # noqa: NPY002  nnU-Net draws from it
        locations = dataset.load_case("case")[3]["class_locations"]
        small = large = 0
        for _ in range(2000):
            corner, _ = loader.get_bbox(SHAPE, True, locations)
            centre = np.array(corner) + 4
            inside = labels()[tuple(centre)] == 1
            small += inside and centre[0] < 10
            large += inside and centre[0] > 10
        return small / 2000, large / 2000

    small, large = shares(ByLesion(Study(), (1,)))
    assert small == pytest.approx(0.5, abs=0.04)
    assert large == pytest.approx(0.5, abs=0.04)
    small, large = shares(Study())
    assert small < 0.01
    assert large == pytest.approx(0.5, abs=0.04)  # the other half is oedema
