"""What looks like a metastasis lies where its kind lies: vessels inside the skull, plexus in ventricles."""

import numpy as np
import pytest

from metseg.synthesis.mimics import (
    Inside,
    draw_dura_and_plexus,
    draw_falx,
    draw_gland,
    draw_plaques_and_infarcts,
    draw_sinuses,
    draw_vessels,
    tube_fraction,
)
from metseg.synthesis.substances import Substance
from metseg.synthesis.tissues import Tissue

SHAPE = (40, 52, 46)


@pytest.fixture(scope="module")
def it():
    """A block of brain in fluid in bone: white matter in cortex, with a ventricle that holds plexus."""
    tissues = np.zeros(SHAPE, dtype=np.uint8)
    for edge, tissue in ((3, Tissue.BONE), (6, Tissue.FLUID), (9, Tissue.CORTEX), (12, Tissue.WHITE)):
        tissues[edge:-edge, edge:-edge, edge:-edge] = tissue
    tissues[16:24, 20:32, 18:28] = Tissue.VENTRICLE
    tissues[18:20, 24:28, 20:22] = Tissue.CHOROID
    return Inside.of(tissues)


def painted(it, layers):
    """Where any of ``layers`` is."""
    where = np.zeros(SHAPE, dtype=bool)
    for layer in layers:
        where[layer.box] |= layer.fraction > 0
    return where


def over_seeds(draw, it, n=12):
    return [draw(np.random.default_rng(seed), it) for seed in range(n)]


def test_inside_sorts_tissues(it):
    assert np.count_nonzero(it.intracranial) == 28 * 40 * 34
    assert np.count_nonzero(it.fluid) == 28 * 40 * 34 - 22 * 34 * 28
    assert not (it.fluid & it.solid).any()
    assert it.solid[20, 26, 24]  # the ventricle belongs to the brain
    assert not it.white[20, 26, 24]
    assert it.shape == SHAPE


def test_vessels_run_inside_the_skull(it):
    for layers in over_seeds(draw_vessels, it):
        assert 1 <= len(layers) <= 5
        assert {layer.substance for layer in layers} == {Substance.VESSEL}
        assert not painted(it, layers)[~it.intracranial].any()
        assert all(0.35 <= layer.strength <= 1.25 for layer in layers)


def test_vessels_are_wider_around_the_brain_than_in_it(it):
    filled = [sum(layer.fraction for layer in layers) for layers in over_seeds(draw_vessels, it)]
    around, within = (np.mean([f[where].mean() for f in filled]) for where in (it.fluid, it.solid))
    assert around > 2 * within > 0


def test_sinuses_lie_under_the_skull_or_in_its_fluid(it):
    for layers in over_seeds(draw_sinuses, it):
        assert not painted(it, layers)[~it.intracranial].any()
        assert {layer.substance for layer in layers} <= {Substance.VESSEL}
    assert {len(layers) for layers in over_seeds(draw_sinuses, it, 30)} == {0, 1, 2}


def test_dura_lies_along_bone_and_plexus_in_ventricles(it):
    bone_next = np.zeros(SHAPE, dtype=bool)
    bone_next[6:-6, 6:-6, 6:-6] = True
    bone_next[7:-7, 7:-7, 7:-7] = False
    ventricle = np.isin(it.tissues, (Tissue.VENTRICLE, Tissue.CHOROID))
    seen = set()
    for layers in over_seeds(draw_dura_and_plexus, it, 24):
        for layer in layers:
            where = layer.fraction > 0
            if layer.substance == Substance.CALCIUM:
                assert not where[~ventricle].any()
            else:
                assert layer.substance == Substance.ENHANCING
                assert not where[~ventricle].any() or not where[~bone_next].any()
                if where[ventricle].any():
                    assert where[it.tissues == Tissue.CHOROID].all()
            seen.add((int(layer.substance), bool(where[bone_next].any())))
    assert seen >= {(int(Substance.ENHANCING), True), (int(Substance.ENHANCING), False)}
    assert (int(Substance.CALCIUM), False) in seen


def test_plaques_and_infarcts_lie_in_the_brain_and_none_takes_up_contrast(it):
    kinds = set()
    for layers in over_seeds(draw_plaques_and_infarcts, it, 40):
        assert not painted(it, layers)[~it.solid].any()
        kinds |= {layer.substance for layer in layers}
    assert kinds == {Substance.OEDEMA, Substance.WATER}


@pytest.mark.parametrize("seed", range(5))
def test_a_gland_lies_where_it_is_said_to_lie(it, seed):
    layers = draw_gland(np.random.default_rng(seed), it, np.array((19.6, 26.2, 23.9)), 9, 1.0)
    assert [layer.substance for layer in layers] == [Substance.ENHANCING, Substance.CALCIUM]
    gland, specks = (layer.fraction for layer in layers)
    indices = np.argwhere(gland > 0) + [s.start for s in layers[0].box]
    assert np.abs(np.average(indices, axis=0, weights=gland[gland > 0]) - (20, 26, 24)).max() < 2.5
    assert 0.3 * np.pi / 6 * 9**3 < gland.sum() < 3 * np.pi / 6 * 9**3
    assert specks.any()


@pytest.mark.parametrize("place", [(-0.6, 20, 20), (39.6, 20, 20), (20, 60, 20), (20, 20, -300)])
def test_a_gland_outside_the_scene_is_not_drawn(it, place):
    assert draw_gland(np.random.default_rng(1), it, np.array(place, dtype=float), 9, 1.0) == []


def test_a_gland_is_calcified_as_often_as_asked(it):
    made = [draw_gland(np.random.default_rng(s), it, np.array((20.0, 26.0, 24.0)), 5, 0.7) for s in range(30)]
    assert np.mean([len(layers) == 2 for layers in made]) == pytest.approx(0.7, abs=0.25)
    assert all(
        len(draw_gland(np.random.default_rng(s), it, np.array((20.0, 26.0, 24.0)), 5, 0.0)) == 1 for s in range(9)
    )


def test_the_falx_is_a_thin_sheet_of_fluid_in_the_midline(it):
    from_midline = np.broadcast_to((np.arange(40, dtype=np.float32) - 20.3)[:, None, None], SHAPE)
    drawn = [draw_falx(np.random.default_rng(seed), it, from_midline) for seed in range(20)]
    for layers in drawn:
        where = painted(it, layers)
        assert not where[~it.fluid].any()
        assert set(np.unique(np.nonzero(where)[0]).tolist()) <= {19, 20, 21, 22}
        assert where[20][it.fluid[20]].all()
    assert 0 < np.mean([len(layers) == 2 for layers in drawn]) < 0.7
    assert draw_falx(np.random.default_rng(1), it, np.full(SHAPE, 9, dtype=np.float32)) == []


@pytest.mark.parametrize("radius", [0.8, 2.0])
def test_tubes_are_as_wide_as_asked_and_nowhere_where_forbidden(radius):
    allowed = np.full(SHAPE, radius, dtype=np.float32)
    allowed[:10] = 0
    parts = [tube_fraction(np.random.default_rng(seed), SHAPE, 14.0, allowed) for seed in range(6)]
    assert not any(part[:10].any() for part in parts)
    assert all(part.min() >= 0 and part.max() <= 1 for part in parts)
    # Zeros of two fields of that smoothness are curves; tubes around them fill more the wider they are, as the square.
    share = np.mean([part[10:].mean() for part in parts])
    assert 0.3 < share / (np.pi * radius**2 * 0.39 / 14**2) < 3


def test_a_scene_of_air_holds_nothing():
    empty = Inside.of(np.zeros((12, 15, 10), dtype=np.uint8))
    for draw in (draw_vessels, draw_sinuses, draw_dura_and_plexus, draw_plaques_and_infarcts):
        for layers in over_seeds(draw, empty, 8):
            assert not any(layer.fraction.any() for layer in layers)
