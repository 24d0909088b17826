"""Words and numbers of the report."""

from dataclasses import replace

import numpy as np
import pytest

from metseg.core.grid import Grid
from metseg.core.lesion import KnownLesion, Lesion, LesionTable, Location
from metseg.core.study import Source, Study
from metseg.core.volume import LabelMap, Volume
from metseg.report import sentences
from results import make_result


def lesion(number=1, volume_mm3=905.0, centre_mm=(-23.1, -41.0, 12.4), **more) -> Lesion:
    known = {
        "diameter_mm": 14.24, "perpendicular_mm": 9.76, "diameter_3d_mm": 15.0, "centre_ijk": (1.0, 2.0, 3.0),
        "slice_number": 3, "bbox_ijk": ((0, 1, 2), (3, 4, 5)), "confidence": 0.934,
    }  # fmt: skip
    return Lesion(id=number, volume_mm3=volume_mm3, centre_mm=centre_mm, **(known | more))


def test_impression_of_none_one_and_many():
    assert sentences.impression(LesionTable()) == "No lesion was found at this operating point."
    assert sentences.impression(LesionTable((lesion(),))) == "1 lesion was found; it measures 14.2 × 9.8 mm (0.91 mL)."
    many = LesionTable((lesion(), lesion(2, 60.0), lesion(3, 4.0)))
    expected = "3 lesions were found; the largest measures 14.2 × 9.8 mm (0.91 mL), all together 0.97 mL."
    assert sentences.impression(many) == expected


@pytest.mark.parametrize(
    ("volume_mm3", "words"), [(905, "0.91 mL"), (51796, "51.80 mL"), (33, "0.033 mL"), (1, "0.001 mL")]
)
def test_millilitres(volume_mm3, words):
    assert sentences.millilitres(volume_mm3) == words


@pytest.mark.parametrize(("volume_mm3", "words"), [(905.4, "905"), (33.04, "33.0"), (0.49, "0.5")])
def test_cubic_millimetres(volume_mm3, words):
    assert sentences.cubic_millimetres(volume_mm3) == words


def placed(centre_mm=(-23.1, -41.0, 12.4)) -> KnownLesion:
    return KnownLesion(1, 905.0, centre_mm, 1.0, 1)


def test_place_is_told_from_the_middle_of_the_head():
    assert sentences.place(placed(), (0, 0, 0)) == "23 mm left, 41 mm posterior, 12 mm superior"
    # The same lesion, where the scan's origin lies far to the left of the head.
    assert sentences.place(placed((91.7, 306, 77.5)), (119.5, 349, 80)) == (
        "28 mm left, 43 mm posterior, 2 mm inferior"
    )
    assert sentences.place(placed((40, 30, -8.0)), (0, 0, 0)) == "40 mm right, 30 mm anterior, 8 mm inferior"


def test_no_side_is_claimed_near_the_midline():
    assert sentences.place(placed((9.4, -20, 0.3)), (0, 0, 0)) == "near the midline, 20 mm posterior"
    assert sentences.place(placed((-9.9, 0, 0)), (0, 0, 0)) == "near the midline"


def test_coordinates_and_confidence():
    assert sentences.coordinates(lesion()) == "-23.1, -41.0, +12.4"
    assert sentences.confidence(lesion()) == "0.93"
    assert sentences.confidence(lesion(confidence=None)) == "–"


def test_a_name_cannot_turn_or_break_the_text():
    assert sentences.plain_name("a\nb\u202ec\x00") == "a\ufffdb\ufffdc\ufffd"
    assert sentences.plain_name("Jürgen 脳 <b>") == "Jürgen 脳 <b>"
    assert sentences.plain_name("x" * 300) == "x" * 79 + "…"


def test_made_by_says_what_is_known():
    grid = Grid.isotropic((6, 7, 8))
    array = np.zeros(grid.shape, dtype=np.float32)
    assert (
        sentences.made_by(make_result(grid, array=array))
        == "mets-t1c 0.3.1 · engine threshold · operating point balanced"
    )
    assert sentences.made_by(make_result(grid, array=array, model={}, options={})) == "engine threshold"


OUTSIDE = "Wholly or partly outside the image, and not judged"


def known(number, share_inside=1.0, *, found=False) -> KnownLesion:
    return KnownLesion(number, 10.0, (1.0, 2.0, 3.0), share_inside, number, found=found)


@pytest.mark.parametrize(
    ("lesions", "told"),
    [
        ([known(1, found=True)], "Found again: 1 of 1."),
        ([known(1, found=True), known(2), known(3)], "Found again: 1 of 3. Not found again: 2 (numbers 2, 3)."),
        (
            [known(1), known(2, 0.4, found=True), known(3, 0.4)],
            f"Found again: 1 of 3. Not found again: 1 (number 1). {OUTSIDE}: 1 (number 3).",
        ),
    ],
)
def test_known_lesions_are_counted_and_those_without_a_match_named(lesions, told):
    grid = Grid.isotropic((20, 22, 18), 2.0)
    result = make_result(grid)
    assert sentences.guidance(result) == ""
    prior = np.zeros(grid.shape, dtype=np.uint8)
    prior[3, 4, 5], prior[7, 8, 9] = 1, 2
    result = replace(result, study=replace(result.study, prior=LabelMap(prior, grid)), known=tuple(lesions))
    assert sentences.guidance(result) == f"Guided by 2 known lesions of an earlier visit. {told}"


@pytest.mark.parametrize(
    ("share", "found", "told"),
    [
        (1.0, True, "found again"), (0.3, True, "found again"), (1.0, False, "not found again"),
        (0.0, False, "outside the image: not judged"), (0.254, False, "25 % inside the image: not judged"),
        (0.999, False, "99 % inside the image: not judged"), (0.001, False, "1 % inside the image: not judged"),
    ],
)  # fmt: skip
def test_the_status_of_a_known_lesion_is_neutral(share, found, told):
    assert sentences.known_status(known(1, share, found=found)) == told


@pytest.mark.parametrize(
    ("side", "regions", "told"),
    [
        ("left", ("frontal lobe",), "left frontal lobe"),
        ("right", ("parietal lobe", "temporal lobe"), "right parietal or temporal lobe"),
        ("midline", ("brainstem",), "brainstem, midline"),
        (None, ("cerebellum",), "cerebellum, side not determined"),
        ("left", (), "left, location not determined"), ("midline", (), "midline, location not determined"),
        (None, (), "not determined"),
    ],
)  # fmt: skip
def test_a_place_is_told_as_far_as_it_was_determined(side, regions, told):
    assert sentences.where(lesion(side=side, location=Location(regions, 0.9) if regions else None)) == told


def test_the_impression_counts_places():
    def at(n, side, *regions):
        return lesion(n, side=side, location=Location(regions, 0.9) if regions else None)

    right, left = ("right", "cerebellum"), ("left", "frontal lobe")
    table = LesionTable((at(1, *left), at(2, *right), at(3, *left)))
    assert sentences.impression(table).endswith(" Location: 2 left frontal lobe; 1 right cerebellum.")
    assert sentences.impression(LesionTable((at(1, *left),))).endswith("mL). Location: left frontal lobe.")
    some = LesionTable((at(1, *left), at(2, "left")))
    assert sentences.impression(some).endswith(" Location: 1 left frontal lobe; 1 not determined.")
    parts = ("frontal lobe", "parietal lobe", "insula", "thalamus", "brainstem", "cerebellum", "temporal lobe")
    many = LesionTable(tuple(at(n, "left", part) for n, part in enumerate(parts, 1)))
    assert sentences.impression(many).endswith("; 1 left brainstem; 2 elsewhere.")


def test_a_slice_is_named_as_the_series_names_it():
    upright, sagittal = Grid.isotropic((6, 7, 5)), Grid((5, 6, 7), np.array(
        [[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]))  # fmt: skip
    for names, grid, told in (
        (("9", "8", "7", "6", ""), upright, "image 6"),
        (("frame 1", "frame 2", "frame 3", "frame 4", "frame 5"), upright, "frame 4"),
        (("1", "2", "3", "", "5"), upright, ""),
        (("1",) * 7, sagittal, ""),  # the series' slices are not axial
        ((), upright, ""),
    ):
        source = Source(slice_names=names)
        study = Study("c", {"t1c": Volume(np.zeros(grid.shape, dtype=np.float32), grid)}, source)
        assert sentences.slice_name(lesion(slice_number=3), study) == told
