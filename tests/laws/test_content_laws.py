"""What scenes hold before anything looks at them: lesions where there is room for them, oedema where it spreads."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from metseg.synthesis.content import ContentOptions, draw_content
from metseg.synthesis.palettes import draw_palette
from metseg.synthesis.render import render
from metseg.synthesis.substances import Substance
from metseg.synthesis.tissues import INTRACRANIAL, Tissue
from metseg.synthesis.warp import sampling
from synthetic_hosts import half_head

SHAPE = (56, 64, 48)


def draw(seed, options, shape=SHAPE, centre=(46.0, 54.0, 55.0)):
    rng = np.random.default_rng(seed)
    return draw_content(rng, half_head(), sampling(rng, shape, np.array(centre)), options)


@pytest.fixture(scope="module")
def crowded():
    """Scenes with more lesions than there is room for, every other one with a cavity."""
    return [draw(seed, ContentOptions(count=12, cavities=float(seed % 2))) for seed in range(4)]


def test_no_two_lesions_share_a_place(crowded):
    for content in crowded:
        total = np.zeros(SHAPE)
        for one in content.metastases:
            total[one.shape.box] += one.fraction
        assert total.max() <= 1 + 1e-5
    assert sum(len(content.metastases) for content in crowded) >= 24


def test_lesions_grow_inside_the_skull_only(crowded):
    for content in crowded:
        tissues = content.inside.tissues
        assert np.array_equal(content.allowed, np.isin(tissues, (*INTRACRANIAL, Tissue.SINUS)))
        for one in content.metastases:
            assert not one.fraction[~content.allowed[one.shape.box]].any()
            assert (one.fraction <= one.shape.filled).all()
            assert one.fraction.min() >= 0
            assert one.fraction.sum() > 0


def test_what_does_not_enhance_is_part_of_its_lesion(crowded):
    for content in crowded:
        for one in content.metastases:
            assert (one.dark <= one.fraction).all()
            assert one.dark.min() >= 0
            assert (one.uptake > 0) == (one.nature == "metastasis")
    lesions = [one for content in crowded for one in content.metastases if one.nature == "metastasis"]
    rings = [one for one in lesions if one.shape.kind != "solid"]
    assert sum(bool(one.dark.any()) for one in rings) > 0.7 * len(rings) > 0


def test_metastases_are_numbered_from_one_and_a_cavity_is_not_one(crowded):
    for seed, content in enumerate(crowded):
        numbers = [one.number for one in content.metastases if one.nature == "metastasis"]
        assert numbers == list(range(1, len(numbers) + 1))
        assert [one.number for one in content.metastases if one.nature == "cavity"] == [0] * (seed % 2)


def test_none_loses_more_than_a_third_to_the_lesions_before_it(crowded):
    for content in crowded:
        for one in content.metastases:
            room = np.minimum(one.shape.filled, content.allowed[one.shape.box])
            assert (room - one.fraction).sum() <= 0.301 * one.shape.filled.sum()


def test_oedema_spreads_in_white_matter_and_cortex_stops_it(crowded):
    # Its border is soft, within two voxels of white matter.
    everything, outside, marked, marked_outside = 0.0, 0.0, 0, 0
    for content in crowded:
        away = ndimage.distance_transform_edt(~content.inside.white)
        for one in content.metastases:
            if one.oedema is None:
                continue
            white, far = content.inside.white[one.shape.box], away[one.shape.box]
            assert one.oedema.min() >= 0
            assert one.oedema.max() <= 1 + 1e-6
            assert not one.oedema[far > np.sqrt(12)].any()
            assert one.oedema[far > 1.5].max(initial=0) < 0.35
            everything += float(one.oedema.sum())
            outside += float(one.oedema[~white].sum())
            marked += int(np.count_nonzero(one.oedema >= 0.5))
            marked_outside += int(np.count_nonzero((one.oedema >= 0.5) & ~white))
    assert everything > 1000
    assert outside < 0.15 * everything
    assert marked_outside < 0.04 * marked


def test_layers_fill_parts_of_voxels_of_their_boxes(crowded):
    for content in crowded:
        for layer in (*content.mimics, *(layer for one in content.metastases for layer in one.layers)):
            assert layer.fraction.dtype == np.float32
            assert layer.fraction.shape == content.inside.tissues[layer.box].shape
            assert layer.fraction.min() >= 0
            assert layer.fraction.max() <= 1 + 1e-5


def test_only_oedema_is_painted_beyond_a_lesion(crowded):
    for content in crowded:
        for one in content.metastases:
            for layer in one.layers:
                assert layer.box == one.shape.box
                if layer.substance != Substance.OEDEMA:
                    assert (layer.fraction <= one.fraction + 1e-6).all()
            if one.nature == "metastasis":
                (tumour,) = (layer for layer in one.layers if layer.substance == Substance.ENHANCING)
                assert np.array_equal(tumour.fraction, one.fraction)
                assert tumour.strength == one.uptake


@pytest.mark.parametrize("sequence", ["t1c", "t2f", "ct"])
def test_nobodys_oedema_is_painted_over_a_tumour(crowded, sequence):
    """Where a lesion fills voxels, the image is that of the same scene without any oedema."""
    for seed, content in enumerate(crowded):
        dry = [
            replace(one, layers=tuple(layer for layer in one.layers if layer.substance != Substance.OEDEMA))
            for one in content.metastases
        ]
        palette = draw_palette(np.random.default_rng(seed), sequence)
        wet_image, dry_image = (
            render(np.random.default_rng(seed), it, palette) for it in (content, replace(content, metastases=dry))
        )
        full = np.zeros(SHAPE, dtype=bool)
        for one in content.metastases:
            full[one.shape.box] |= one.fraction > 1 - 1e-5
        np.testing.assert_allclose(wet_image[full], dry_image[full], atol=1e-3)
        assert np.abs(wet_image - dry_image).max() > 0.05


def test_the_same_generator_gives_the_same_content():
    a, b = (draw(7, ContentOptions(count=6)) for _ in range(2))
    assert np.array_equal(a.inside.tissues, b.inside.tissues)
    assert len(a.metastases) == len(b.metastases) > 0
    assert len(a.mimics) == len(b.mimics) > 0
    for one, other in zip(a.metastases, b.metastases):
        assert np.array_equal(one.fraction, other.fraction)
        assert np.array_equal(one.dark, other.dark)
        assert one.uptake == other.uptake
    for one, other in zip(a.mimics, b.mimics):
        assert np.array_equal(one.fraction, other.fraction)


def test_options_say_what_there_is():
    assert draw(1, ContentOptions(count=3, mimics=False)).mimics == []
    assert draw(1, ContentOptions(count=0, cavities=0.0)).metastases == []
    assert [one.nature for one in draw(1, ContentOptions(count=0, cavities=1.0)).metastases] == ["cavity"]
    small = draw(2, ContentOptions(count=12, largest_mm=4.0)).metastases
    assert len(small) >= 6
    assert max(one.shape.radius for one in small if one.nature == "metastasis") <= 2.0


def test_far_from_any_head_there_is_nothing():
    content = draw(3, ContentOptions(count=5, cavities=1.0), (16, 20, 18), (900.0, 0.0, 0.0))
    assert content.metastases == []
    assert not content.allowed.any()
    assert not content.inside.tissues.any()
    assert not any(layer.fraction.any() for layer in content.mimics)
