"""How bright tissues and substances are: the order that makes a contrast what it is, and paint by hand."""

import numpy as np
import pytest

from metseg.core.errors import ConfigError
from metseg.core.grid import Grid
from metseg.preprocess.normalise import NormaliseWindow
from metseg.preprocess.steps import build, run_channels
from metseg.synthesis.palettes import draw_palette
from metseg.synthesis.substances import Layer, Response, Substance, paint_layers, whole
from metseg.synthesis.tissues import N_TISSUES, Tissue

SEQUENCES = ("t1c", "t1n", "t2w", "t2f", "ct")


def palettes(sequence, n=60):
    return [draw_palette(np.random.default_rng(seed), sequence) for seed in range(n)]


def value(palette, substance, strength, beneath=1.0):
    how = palette.responses[substance]
    return how.base + how.gain * strength + (how.keep + how.fade * strength) * beneath


def contrasts(sequence, substance, strength):
    """How much brighter a substance is than the white matter that it lies in, in many scans."""
    drawn = palettes(sequence)
    whites = [float(p.mean[Tissue.WHITE]) for p in drawn]
    return np.array([value(p, substance, strength, white) - white for p, white in zip(drawn, whites)])


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_every_tissue_and_substance_has_a_brightness(sequence):
    for palette in palettes(sequence, 10):
        assert palette.mean.shape == palette.spread.shape == (N_TISSUES,)
        assert palette.mean.dtype == palette.spread.dtype == np.float32
        assert (palette.spread >= 0).all()
        assert set(palette.responses) == set(Substance)
        assert palette.hounsfield == (sequence == "ct")
        white = palette.mean[Tissue.WHITE]
        assert (20 < white < 40) if palette.hounsfield else white == 1


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_each_scan_draws_its_own_brightnesses_and_a_seed_the_same(sequence):
    a, b, c = (draw_palette(np.random.default_rng(seed), sequence) for seed in (1, 1, 2))
    assert np.array_equal(a.mean, b.mean)
    assert a.responses == b.responses
    assert not np.array_equal(a.mean, c.mean)
    assert a.responses != c.responses


def test_on_t1c_only_shape_and_place_tell_tumours_from_vessels():
    same = [p.responses[Substance.VESSEL] == p.responses[Substance.ENHANCING] for p in palettes("t1c", 240)]
    assert np.mean(same) == pytest.approx(11 / 12, abs=0.06)  # the others suppress blood


def test_suppressed_blood_is_dark_on_t1c():
    for palette in palettes("t1c", 120):
        if palette.responses[Substance.VESSEL] != palette.responses[Substance.ENHANCING]:
            assert value(palette, Substance.VESSEL, 1.0) < 0.75
            assert palette.mean[Tissue.SINUS] < 0.85


def test_uptake_is_bright_on_t1c_and_ct_alone():
    assert (contrasts("t1c", Substance.ENHANCING, 1.0) >= 0.5).all()
    assert (contrasts("ct", Substance.ENHANCING, 1.0) > 10).all()
    for sequence in ("t1n", "t2w", "t2f"):
        assert np.array_equal(
            contrasts(sequence, Substance.ENHANCING, 0.1), contrasts(sequence, Substance.ENHANCING, 1.2)
        )


def test_on_ct_tumour_takes_up_less_than_blood():
    for palette in palettes("ct"):
        assert value(palette, Substance.ENHANCING, 1.0) - 40 < value(palette, Substance.VESSEL, 1.0)
        assert 60 <= value(palette, Substance.VESSEL, 1.0) <= 170
        assert 40 <= palette.mean[Tissue.SINUS] <= 200


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_oedema_is_dark_on_t1_and_ct_and_bright_on_t2(strength):
    for sequence in ("t1c", "t1n", "ct"):
        assert (contrasts(sequence, Substance.OEDEMA, strength) < 0).all(), sequence
    for sequence in ("t2w", "t2f"):
        assert (contrasts(sequence, Substance.OEDEMA, strength) > 0).all(), sequence
    assert (contrasts("ct", Substance.OEDEMA, 1.0) >= -16).all()


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_no_oedema_is_no_change(sequence):
    np.testing.assert_allclose(contrasts(sequence, Substance.OEDEMA, 0.0), 0, atol=1e-6)


@pytest.mark.parametrize("sequence", ["t1c", "t1n", "t2w", "ct"])
def test_a_cyst_of_pure_water_is_as_bright_as_the_ventricle(sequence):
    for palette in palettes(sequence, 20):
        assert value(palette, Substance.WATER, 1.0) == pytest.approx(palette.mean[Tissue.VENTRICLE], abs=1e-4)


def test_flair_suppresses_free_water_less_in_a_cyst():
    for palette in palettes("t2f", 20):
        assert 0 <= value(palette, Substance.WATER, 1.0) - palette.mean[Tissue.VENTRICLE] <= 0.7
        assert palette.mean[Tissue.VENTRICLE] < 0.5


def test_calcium_and_fresh_blood_are_dense_on_ct_and_calcium_dark_on_mr():
    for palette in palettes("ct"):
        assert value(palette, Substance.CALCIUM, 1.0) > 200
        assert 45 < value(palette, Substance.BLOOD, 1.0) < 100
        assert palette.mean[Tissue.BONE] > 500
        assert palette.mean[Tissue.AIR] < -970
    for sequence in ("t1c", "t1n", "t2w", "t2f"):
        assert all(0 < value(p, Substance.CALCIUM, 1.0) < 1 for p in palettes(sequence))


def test_bone_marrow_and_fluid_of_ct_are_in_anatomical_order():
    for palette in palettes("ct"):
        air, fluid, white, cortex, bone = (
            palette.mean[t] for t in (Tissue.AIR, Tissue.VENTRICLE, Tissue.WHITE, Tissue.CORTEX, Tissue.BONE)
        )
        assert air < fluid < white < cortex < bone


def test_paint_by_hand():
    responses = {
        Substance.WATER: Response(0.2, 0.5),  # 0.2 + 0.5 · strength
        Substance.OEDEMA: Response(0.0, 0.0, 1.0, -0.5),  # (1 − 0.5 · strength) of what is beneath
    }
    image = np.full((2, 3, 4), 2.0, dtype=np.float32)
    half = np.zeros((1, 3, 2), dtype=np.float32)
    half[0, 0, 0], half[0, 1, 1] = 1.0, 0.5
    box = np.s_[1:2, 0:3, 2:4]
    strengths = np.full((1, 3, 2), 0.4, dtype=np.float32)
    paint_layers(
        image,
        [
            Layer(whole((2, 3, 4)), Substance.OEDEMA, np.full((2, 3, 4), 0.5, dtype=np.float32), 0.8),
            Layer(box, Substance.WATER, half, strengths),
        ],
        responses,
    )
    swollen = 2.0 + 0.5 * (0.6 * 2.0 - 2.0)  # half of it 0.6 × as bright
    expected = np.full((2, 3, 4), swollen)
    expected[1, 0, 2] = 0.4
    expected[1, 1, 3] = (swollen + 0.4) / 2
    np.testing.assert_allclose(image, expected, rtol=1e-6)


def test_grain_is_relative_unevenness():
    image = np.zeros((2, 2, 3), dtype=np.float32)
    grain = np.linspace(-0.2, 0.3, 12, dtype=np.float32).reshape(2, 2, 3)
    full = np.ones((2, 2, 3), dtype=np.float32)
    paint_layers(
        image, [Layer(whole(image.shape), Substance.BLOOD, full, 0.5, grain)], {Substance.BLOOD: Response(1, 2)}
    )
    np.testing.assert_allclose(image, 2 * (1 + grain), rtol=1e-6)


GRID = Grid.isotropic((1, 2, 3))
HU = np.array([[[-1000.0, -60.0, 10.0], [35.0, 60.0, 900.0]]], dtype=np.float32)
WINDOWED = [[[-3.8, -3.8, -1.0], [0.0, 1.0, 6.6]]]


def test_the_window_of_ct_by_hand():
    before = HU.copy()
    seen, grid = NormaliseWindow().apply(HU, GRID)
    np.testing.assert_allclose(seen, WINDOWED, rtol=1e-6)
    assert seen.dtype == np.float32
    assert grid is GRID
    assert np.array_equal(HU, before)


def test_the_window_is_a_step_of_a_bundle():
    steps = build([{"name": "normalise_window"}, {"name": "normalise_window", "low": 0, "high": 80, "scale": 40}])
    assert [step.name for step in steps] == ["normalise_window"] * 2
    both = np.stack([HU, HU + 1])
    seen, _ = run_channels(steps[:1], both, GRID)
    np.testing.assert_allclose(seen[0], WINDOWED, rtol=1e-6)
    np.testing.assert_allclose(seen[1, 0, 1], np.array([1, 26, 165]) / 25, rtol=1e-6)
    narrow, _ = run_channels(steps[1:], both[:1], GRID)
    np.testing.assert_allclose(narrow[0, 0], [[-0.875, -0.875, -0.625], [0.0, 0.625, 1.125]], rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"scale": -3}, {"width": 80}])
def test_a_window_without_width_is_refused(wrong):
    with pytest.raises(ConfigError, match="Preprocessing step 0"):
        build([{"name": "normalise_window", **wrong}])
