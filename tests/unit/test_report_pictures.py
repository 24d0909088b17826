"""Preview and key images: the right slices, the right colours in the right places."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from conftest import oblique_affine
from metseg.core.grid import Grid
from metseg.core.lesion import KnownLesion
from metseg.core.volume import LabelMap
from metseg.report.contrast import Window, head_box
from metseg.report.html import render_report
from metseg.report.montage import choose_slices, draw_montage
from metseg.report.panel import Field, paint
from metseg.report.pictures import draw_lesion, draw_pictures
from metseg.report.png import encode_png
from metseg.report.preview import draw_capture, render_preview
from metseg.report.style import LESION_COLOURS, lesion_colour
from metseg.report.view import View
from results import make_result

LPS = Grid((40, 44, 30), np.array([[-4.0, 0, 0, 80], [0, -4.0, 0, 90], [0, 0, 5.0, -60], [0, 0, 0, 1]]))
OBLIQUE = Grid((40, 44, 30), oblique_affine(spacing_mm=(3.5, 4.0, 5.0)))
BOXES = (((24, 20, 15), (29, 25, 18)), ((10, 12, 14), (12, 14, 16)), ((20, 30, 8), (21, 31, 9)))


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def where(picture: Image.Image, colour) -> np.ndarray:
    """(x, y) of the pixels that hold exactly this colour."""
    return np.argwhere((np.asarray(picture) == colour).all(axis=-1))[:, ::-1]


def many(grid: Grid, count: int):
    """``count`` single voxels on a lattice, well apart."""
    lattice = [(i, j, k) for k in range(4, 26, 4) for j in range(12, 34, 6) for i in range(12, 30, 6)]
    return tuple((p, (p[0] + 1, p[1] + 1, p[2] + 1)) for p in lattice[:count])


@pytest.mark.parametrize("grid", [LPS, OBLIQUE], ids=["LPS", "oblique"])
def test_outline_surrounds_the_lesion_in_its_panel(grid):
    result = make_result(grid, BOXES[:1])
    view = View(grid, "axial")
    width, height = view.size_mm
    panel = paint(view, result.study.images["t1c"].array, 16, Window(0, 200), Field(0, 0, width, height), (500, 460))
    index = 16 if view.axes[2] == 2 else 22
    panel.outline(view.slice(result.instances.array, index), width=2)
    first, stop = np.array(BOXES[0])
    ends = panel.to_pixels(view.to_picture([first - 0.5, stop - 0.5]))
    drawn = where(panel.image, lesion_colour(1))
    np.testing.assert_allclose(drawn.min(axis=0), ends.min(axis=0), atol=2)
    np.testing.assert_allclose(drawn.max(axis=0) + 1, ends.max(axis=0), atol=2)


def test_voxels_keep_their_proportions():
    grid = Grid((20, 20, 20), np.diag([1.0, 1.0, 6.0, 1.0]))
    array = np.zeros(grid.shape)
    array[5:15, 10, 8:10] = 1  # 10 mm across, 12 mm high
    view = View(grid, "coronal")
    panel = paint(view, array, 10, Window(0, 1), Field(0, 0, *view.size_mm), (400, 1200))
    white = np.argwhere(np.asarray(panel.image)[..., 0] > 127)
    high, wide = np.ptp(white, axis=0) + 1
    assert panel.pixels_per_mm == pytest.approx(10)
    assert wide == pytest.approx(100, abs=4)
    assert high == pytest.approx(120, abs=4)


def test_beyond_the_scan_is_black():
    view = View(Grid.isotropic((10, 10, 10)), "axial")
    panel = paint(view, np.ones((10, 10, 10)), 3, Window(0, 1), Field(-10, -10, 30, 30), (90, 90))
    grey = np.asarray(panel.image)[..., 0]
    assert grey[45, 45] == 255
    assert grey[:27].max() == 0
    assert grey[:, 63:].max() == 0


def test_a_far_field_is_all_black():
    view = View(Grid.isotropic((10, 10, 10)), "axial")
    panel = paint(view, np.ones((10, 10, 10)), 3, Window(0, 1), Field(100, 200, 30, 30), (30, 30))
    assert np.asarray(panel.image).max() == 0


def test_slices_cover_the_head_evenly():
    assert choose_slices((10, 58), (), 2, most=24) == list(range(10, 58, 2))
    assert choose_slices((3, 9), (), 2, most=24) == [3, 4, 5, 6, 7, 8]
    steps = np.diff(choose_slices((0, 155), (), 2))
    assert steps.min() >= 6
    assert steps.max() <= 8


def test_each_lesion_is_on_a_slice_though_it_is_one_voxel_thin():
    result = make_result(LPS, many(LPS, 40))
    slices = choose_slices((0, 30), result.lesions.lesions, 2, most=8)
    assert len(slices) == 8
    assert {4, 8, 12, 16, 20, 24} <= set(slices)


def test_montage_runs_from_bottom_to_top():
    upside_down = Grid((40, 44, 30), LPS.affine @ np.diag([1, 1, -1, 1]))
    for grid in (LPS, upside_down):
        result = make_result(grid)
        _, slices = draw_montage(result, Window(0, 200), head_box(result.study))
        heights = [grid.to_world((0, 0, index))[2] for index in slices]
        assert heights == sorted(heights)


def test_montage_shows_each_lesion_in_its_colour():
    pictures = draw_pictures(make_result(LPS, BOXES))
    assert {15, 8} <= set(pictures.slices) or {16, 8} <= set(pictures.slices)
    for number in (1, 2, 3):
        assert len(where(pictures.overview, lesion_colour(number))) > 5
    assert len(where(pictures.overview, lesion_colour(4))) == 0


def test_lesions_on_no_slice_of_the_overview_are_told():
    tall = Grid((40, 44, 60), np.diag([-4.0, 4.0, 2.0, 1.0]))
    boxes = tuple(((10 + k % 20, 20, k), (11 + k % 20, 21, k + 1)) for k in range(8, 52))  # more slices than tiles
    result = make_result(tall, boxes)
    pictures = draw_pictures(result)
    shown = {k - 7 for k in range(8, 52) if k in pictures.slices}
    assert len(shown) < 44
    assert set(pictures.unseen) == set(range(1, 45)) - shown
    page = render_report(result, pictures=pictures)
    told = f"Not on the slices shown: lesions {', '.join(map(str, pictures.unseen))}."
    assert told in page
    assert f"{len(shown)} of 44 lesions outlined" in page
    assert draw_pictures(make_result(LPS, BOXES)).unseen == ()
    assert "Not on the slices shown" not in render_report(make_result(LPS, BOXES))
    heights = [draw_capture(each).height for each in (result, make_result(tall, boxes[:1]))]
    assert heights[0] > heights[1]


@pytest.mark.parametrize("grid", [LPS, OBLIQUE], ids=["LPS", "oblique"])
def test_a_key_image_shows_its_lesion_in_every_panel_but_the_plain_one(grid):
    result = make_result(grid, BOXES)
    picture = draw_lesion(result, result.lesions.lesions[0], Window(0, 200), ((0, 40), (0, 44), (0, 30)))
    drawn = where(picture, lesion_colour(1))
    panels = {"axial": (0, 270), "plain": (276, 596), "outlined": (602, 922), "small": (928, 1132)}
    held = {name: ((drawn[:, 0] >= a) & (drawn[:, 0] < b)).sum() for name, (a, b) in panels.items()}
    assert picture.size == (1132, 320)
    assert held["plain"] == 0
    assert min(held["axial"], held["outlined"], held["small"]) > 20
    small = drawn[drawn[:, 0] >= 928]
    assert (small[:, 1] < 157).any()
    assert (small[:, 1] >= 163).any()


def test_zoom_is_three_centimetres_or_twice_the_lesion():
    grid = Grid.isotropic((90, 90, 40))
    result = make_result(grid, (((20, 30, 10), (60, 60, 20)), ((70, 70, 30), (75, 75, 32))))
    boxes = []
    for lesion in result.lesions:
        picture = draw_lesion(result, lesion, Window(0, 200), ((0, 90), (0, 90), (0, 40)))
        outlined = picture.crop((602, 0, 922, 320))
        drawn = where(outlined, lesion_colour(lesion.id))
        boxes.append(np.ptp(drawn[np.abs(drawn[:, 1] - 160) < 20], axis=0)[0])  # without the number above
    assert boxes[0] == pytest.approx(320 * 40 / 80, abs=6)  # 40 mm in a field of 80 mm
    assert boxes[1] == pytest.approx(320 * 5 / 30, abs=6)  # 5 mm in a field of 30 mm


def test_middle_is_the_middle_of_the_head_not_of_the_grid():
    array = np.zeros(LPS.shape, dtype=np.float32)
    array[0:21, 4:15, 10:21] = 100
    pictures = draw_pictures(make_result(LPS, array=array))
    assert pictures.middle_mm == pytest.approx(LPS.to_world((10, 9, 15)).tolist())


@pytest.mark.parametrize(("count", "rows"), [(0, 0), (1, 1), (40, 20)])
def test_preview_grows_by_a_row_a_lesion_up_to_twenty(count, rows):
    none = decoded(render_preview(make_result(LPS)))
    picture = decoded(render_preview(make_result(LPS, many(LPS, count))))
    assert picture.shape[1] == none.shape[1] == 1484
    assert picture.shape[0] - none.shape[0] == pytest.approx(rows * 349, abs=60)


def test_preview_tells_in_a_line_of_its_own_what_guided_it():
    result = make_result(LPS, BOXES)
    prior = LabelMap((np.asarray(result.instances.array) == 1).astype(np.uint8), LPS)
    known = (KnownLesion(1, 905.0, (0.0, 0.0, 0.0), 1.0, 1, found=True),)
    guided = decoded(render_preview(replace(result, study=replace(result.study, prior=prior), known=known)))
    plain = decoded(render_preview(result))
    line = round(13 * 1.4) + 3  # of the smallest letters
    assert guided.shape[0] - plain.shape[0] == line
    above = next(y for y in range(len(plain)) if (guided[y] != plain[y]).any())
    assert (guided[above + line :][:300] == plain[above:][:300]).mean() > 0.95  # what follows has moved down
    assert np.array_equal(guided[-900:], plain[-900:])


def test_preview_is_the_same_each_time_and_from_drawn_pictures():
    result = make_result(OBLIQUE, BOXES)
    assert render_preview(result) == render_preview(result, pictures=draw_pictures(result))


def test_preview_stands_any_name_and_a_single_slice():
    grid = Grid((30, 30, 1), np.diag([5.0, 5.0, 5.0, 1.0]))
    result = make_result(grid, (((3, 4, 0), (6, 8, 1)),), case="脳\u202e\n<script>" + "W" * 300)
    assert decoded(render_preview(result)).shape[1] == 1484


def test_png_keeps_greys_to_a_level_and_lesion_colours_exactly():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    colours = np.array(LESION_COLOURS, dtype=np.uint8)[None]
    picture = np.concatenate([ramp, np.resize(colours, (1, 256, 3))])
    shown = decoded(encode_png(Image.fromarray(picture)))
    assert np.abs(shown[0].astype(int) - ramp[0]).max() <= 1
    np.testing.assert_array_equal(shown[1], picture[1])
