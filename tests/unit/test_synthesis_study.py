"""Whole studies: the maps, the table and the images tell the same story, in every modality."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from metseg.core.errors import ConfigError
from metseg.synthesis.hosts import ScanHost
from metseg.synthesis.study import SEQUENCES, choose_host, draw_head_seed, make_study
from metseg.synthesis.truth import CAVITY, ENHANCING, LABELS, NECROTIC, OEDEMA
from synthetic_hosts import half_head

SEED, NUMBER = 6, 11  # many lesions, of all kinds


@pytest.fixture(scope="module")
def modalities():
    """One study as each modality shows it."""
    return {modality: make_study(SEED, NUMBER, half_head(), modality) for modality in SEQUENCES}


@pytest.fixture(scope="module")
def studies(modalities):
    """Studies of several kinds: thin and thick slices, skull kept and stripped, with a cavity, with many lesions."""
    others = ((9, "t1c"), (17, "t1c"), (22, "t1c"))
    made = [make_study(SEED, number, half_head(), modality) for number, modality in others]
    return [modalities["t1c"], modalities["ct"], *made]


def arrays(study):
    """Labels and instances."""
    return np.asarray(study.labels.array), np.asarray(study.instances.array)


@cache
def voxels_of(study, lesion):
    """Indices (n, 3) of its voxels."""
    labels, instances = arrays(study)
    return np.argwhere(instances == lesion.number if lesion.number else labels == CAVITY)


def is_whole(study, lesion):
    """Whether all of a lesion lies in the field of view, clear of its edge, and not in a gap."""
    grid = study.labels.grid
    index = grid.to_index(lesion.centre_mm)
    reach = (0.5 * lesion.diameter_3d_mm + 1.5) / np.array(grid.spacing_mm)
    return len(voxels_of(study, lesion)) > 0 and bool(
        (index - reach > -0.5).all() and (index + reach < np.array(grid.shape) - 0.5).all()
    )


def neighbours(study, lesion):
    """Other lesions that lie within two voxels of its box."""
    labels, instances = arrays(study)
    voxels = voxels_of(study, lesion)
    box = tuple(slice(max(a - 2, 0), b + 3) for a, b in zip(voxels.min(axis=0), voxels.max(axis=0)))
    around = {int(n) for n in np.unique(instances[box])} - {0, lesion.number}
    return around | ({-1} if lesion.number and (labels[box] == CAVITY).any() else set())


def test_the_same_numbers_give_the_same_study_bit_for_bit(modalities):
    first, again = modalities["ct"], make_study(SEED, NUMBER, half_head(), "ct")
    for a, b in zip((first.labels, first.instances), (again.labels, again.instances)):
        assert a.array.tobytes() == b.array.tobytes()
    assert first.images["ct"].array.tobytes() == again.images["ct"].array.tobytes()
    assert first.lesions == again.lesions
    assert first.made == again.made
    assert np.array_equal(first.labels.grid.affine, again.labels.grid.affine)


def test_other_numbers_give_other_studies(studies):
    volumes = [tuple(lesion.volume_mm3 for lesion in study.lesions) for study in studies[1:]]
    assert len(set(volumes)) == len(volumes)
    assert len({study.made.protocol for study in studies}) == len(studies)


def test_t1c_alone_and_among_four_is_one_scan(modalities):
    alone, four = modalities["t1c"], modalities["mr4"]
    assert alone.made == four.made
    assert np.array_equal(alone.labels.grid.affine, four.labels.grid.affine)
    assert np.array_equal(alone.labels.array, four.labels.array)
    assert np.array_equal(alone.instances.array, four.instances.array)
    assert np.array_equal(alone.images["t1c"].array, four.images["t1c"].array)
    assert alone.lesions == four.lesions


def test_ct_shows_the_lesions_that_mr_shows(modalities):
    mr, ct = modalities["t1c"], modalities["ct"]
    assert ct.made.protocol != mr.made.protocol
    assert ct.made.host == mr.made.host
    assert len(ct.lesions) == len(mr.lesions) >= 1
    for one, other in zip(mr.lesions, ct.lesions):
        for name in ("number", "nature", "kind", "volume_mm3", "core_share", "oedema_mm3", "uptake"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("axial_diameter_mm", "diameter_3d_mm"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6)
        distance = np.linalg.norm(one.centre_mm) - np.linalg.norm(other.centre_mm)  # tilts turn about the middle
        assert distance == pytest.approx(0, abs=1e-6)


def test_images_and_maps_share_one_grid_and_their_types(modalities):
    for modality, study in modalities.items():
        assert tuple(study.images) == SEQUENCES[modality]
        for image in study.images.values():
            assert image.grid is study.labels.grid
            assert image.array.dtype == (np.int16 if modality == "ct" else np.uint16)
        assert study.instances.grid is study.labels.grid
        assert dict(study.labels.labels) == LABELS
        protocol = study.made.protocol
        spacing = [protocol.in_plane_mm] * 3
        spacing[protocol.slice_axis] = protocol.thickness_mm + protocol.gap_mm
        np.testing.assert_allclose(study.labels.grid.spacing_mm, spacing, rtol=1e-6)


def test_lesions_are_numbered_exactly_where_they_are_labelled_tumour(studies):
    for study in studies:
        labels, instances = arrays(study)
        assert np.array_equal(instances > 0, np.isin(labels, (NECROTIC, ENHANCING)))
        known = {lesion.number for lesion in study.lesions}
        assert {int(n) for n in np.unique(instances)} <= known | {0}
        assert bool((labels == CAVITY).any()) <= (0 in known)


def test_the_table_says_how_much_is_labelled(studies):
    for study in studies:
        for lesion in study.lesions:
            counted = len(voxels_of(study, lesion)) * study.labels.grid.voxel_volume_mm3
            assert lesion.labelled_mm3 == pytest.approx(counted, rel=1e-9)


def test_what_is_labelled_has_the_volume_that_was_drawn(studies):
    """Within half a voxel, or 2 %, or what gaps and pixels that do not fit the scene's voxels add to small ones."""
    checked = 0
    for study in studies:
        protocol, voxel = study.made.protocol, study.labels.grid.voxel_volume_mm3
        for lesion in study.lesions:
            if protocol.gap_mm or not is_whole(study, lesion) or neighbours(study, lesion):
                continue
            share = 0.02 if lesion.volume_mm3 > 100 else 0.07
            error = abs(lesion.labelled_mm3 - lesion.volume_mm3)
            assert error <= 0.5 * voxel + share * lesion.volume_mm3, lesion
            checked += 1
    assert checked >= 8


def test_lesions_lie_where_the_table_says(studies):
    checked = 0
    for study in studies:
        grid = study.labels.grid
        for lesion in study.lesions:
            if not is_whole(study, lesion) or neighbours(study, lesion):
                continue
            middle = grid.to_world(voxels_of(study, lesion).mean(axis=0))
            assert np.linalg.norm(middle - lesion.centre_mm) < 0.5 * np.linalg.norm(grid.spacing_mm) + 0.1
            checked += 1
    assert checked >= 8


def test_diameters_are_those_of_one_body(studies):
    for study in studies:
        for lesion in study.lesions:
            assert 0 < lesion.axial_diameter_mm <= lesion.diameter_3d_mm + 1e-9
            ball = np.cbrt(6 * lesion.volume_mm3 / np.pi)
            assert lesion.equivalent_diameter_mm == pytest.approx(ball)
            assert ball <= lesion.diameter_3d_mm * 1.02 + 0.3  # no body of that diameter is larger than the ball
            assert 0 <= lesion.core_share <= 1 + 1e-6
            assert lesion.oedema_mm3 >= 0
            assert (lesion.nature == "cavity") == (lesion.number == 0)


def test_the_core_share_of_the_table_is_that_of_the_labels(studies):
    checked = 0
    for study in studies:
        labels, _ = arrays(study)
        for lesion in study.lesions:
            if lesion.number and lesion.volume_mm3 > 300 and is_whole(study, lesion):
                share = np.mean(labels[tuple(voxels_of(study, lesion).T)] == NECROTIC)
                assert share == pytest.approx(lesion.core_share, abs=0.15)
                checked += lesion.core_share > 0.1
    assert checked >= 2


def test_oedema_is_what_lies_around_tumours(studies):
    """Of the table as of the labels, where all of the head is seen; soft borders and overlaps are in the table only."""
    checked = 0
    for study in studies:
        if not all(is_whole(study, lesion) for lesion in study.lesions):
            continue
        told = sum(lesion.oedema_mm3 for lesion in study.lesions)
        labelled = np.count_nonzero(arrays(study)[0] == OEDEMA) * study.labels.grid.voxel_volume_mm3
        if told > 1000:
            assert 0.6 * told < labelled < 1.1 * told
            checked += 1
    assert checked >= 1


def test_no_tumour_is_stripped_away_with_the_skull(studies):
    stripped = [study for study in studies if study.made.skull != "kept"]
    assert stripped
    for study in stripped:
        image = study.images["t1c"].array
        assert np.mean(image == 0) > 0.3
        for lesion in study.lesions:
            voxels = voxels_of(study, lesion)
            if len(voxels):
                assert np.mean(image[tuple(voxels.T)] > 0) > 0.8, lesion


def test_the_brain_of_a_ct_lies_in_its_window(modalities):
    ct = np.asarray(modalities["ct"].images["ct"].array)
    middle = ct[tuple(slice(int(0.42 * n), int(0.58 * n)) for n in ct.shape)]
    assert 0 < np.median(middle) < 50
    assert ct.min() < -900
    assert ct.max() > 300


@pytest.fixture(scope="module")
def scan_host():
    """A stripped brain without and with uptake: white matter in grey, a vessel."""
    plain = np.zeros((40, 48, 44), dtype=np.float32)
    plain[6:-6, 6:-6, 6:-6] = 0.7
    plain[10:-10, 10:-10, 10:-10] = 1.0
    enhanced = plain.copy()
    enhanced[20:22, 8:40, 20:22] = 1.9
    return ScanHost("box", plain, enhanced)


def test_a_real_scan_as_host_stays_stripped(scan_host):
    study = make_study(3, 1, scan_host, "t1c")
    image = study.images["t1c"].array
    assert study.made.skull == "stripped"
    assert study.made.host == "box"
    assert 0.2 < np.mean(image == 0) < 0.9
    for lesion in study.lesions:
        voxels = voxels_of(study, lesion)
        assert not len(voxels) or np.mean(image[tuple(voxels.T)] > 0) > 0.6


def test_real_scans_are_chosen_for_a_fifth_of_the_t1c_studies_alone():
    maps = [True, False, True, False, True]
    chosen = {modality: [choose_host(4, n, maps, modality) for n in range(400)] for modality in SEQUENCES}
    assert np.mean([not maps[n] for n in chosen["t1c"]]) == pytest.approx(0.2, abs=0.08)
    assert set(chosen["t1c"]) == set(range(5))
    assert chosen["ct"] == chosen["mr4"]
    assert set(chosen["ct"]) == {0, 2, 4}
    assert min(Counter(chosen["ct"]).values()) > 90
    assert all(a == b for a, b in zip(chosen["t1c"], chosen["ct"]) if maps[a])


def test_where_there_are_scans_only_t1c_takes_them_and_others_are_refused():
    assert {choose_host(1, n, [False, False], "t1c") for n in range(40)} == {0, 1}
    for modality in ("ct", "mr4"):
        with pytest.raises(ConfigError, match=f"{modality} need label maps"):
            choose_host(1, 2, [False], modality)


def test_heads_made_for_studies_are_all_different_and_none_is_below_the_first():
    seeds = [draw_head_seed(seed, number, 1000) for seed in range(5) for number in range(40)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 1000
    assert seeds[0] == draw_head_seed(0, 0, 1000)
