"""Losses by hand, recipes, and a run that is killed and goes on as if it had not been."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")
save_file = pytest.importorskip("safetensors.torch").save_file

from metseg.core.errors import ConfigError  # noqa: E402
from metseg.engines.bundle import sha256_of  # noqa: E402
from metseg.networks.compact_unet import CompactUNet  # noqa: E402
from metseg.synthesis.head import make_head  # noqa: E402
from metseg.training import train as loop  # noqa: E402
from metseg.training.losses import lesion_loss, lesion_weights, scene_loss, soft_dice_loss  # noqa: E402
from metseg.training.recipe import Change, Rate, Recipe, read_recipe  # noqa: E402
from metseg.training.scenes import HeadDataset, SceneDataset  # noqa: E402

RATES = (Rate(over=20, highest=2e-2),)


def test_soft_dice_by_hand():
    probability = torch.tensor([0.5, 1.0, 0.0, 0.0])
    target = torch.tensor([1.0, 1.0, 1.0, 0.0])
    # overlap 1.5, squares 1.25 and 3
    assert soft_dice_loss(probability, target, smooth=0.0).item() == pytest.approx(1 - 3.0 / 4.25)


def test_small_lesions_weigh_more_a_voxel_and_background_nothing():
    instances = torch.zeros(1, 12, 12, 12, dtype=torch.uint8)
    instances[0, :10, :10, :5] = 1  # 500 voxels
    instances[0, 11, 11, 11] = 2
    instances[0, 11, :5, :10] = 3  # 50 voxels
    weights = lesion_weights(instances)
    assert weights[0, 0, 0, 0].item() == pytest.approx(1.0)
    assert weights[0, 11, 0, 0].item() == pytest.approx(10**0.35)
    assert weights[0, 11, 11, 11].item() == pytest.approx(4.0)  # of one voxel: 500^0.35 = 8.8, limited
    assert weights[0, 11, 11, 0].item() == 0


def test_a_missed_lesion_costs_more_than_a_found_one_and_so_does_a_false_one():
    instances = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    instances[0, 2:4, 2:4, 2:4] = 1
    right = torch.where(instances > 0, 6.0, -6.0)
    missed = torch.full_like(right, -6.0)
    extra = right.clone()
    extra[0, 6:, 6:, 6:] = 6.0
    for balanced in (True, False):
        best = lesion_loss(right, instances, balanced=balanced)
        assert best < lesion_loss(missed, instances, balanced=balanced)
        assert best < lesion_loss(extra, instances, balanced=balanced)


def test_the_loss_by_hand():
    instances = torch.zeros(1, 10, 10, 11, dtype=torch.uint8)
    instances[0, :, :, :5] = 1  # 500 voxels of lesion, 600 of background
    logits = torch.where(instances > 0, math.log(1 / 3), 0.0)  # probability 1/4 in the lesion, 1/2 outside
    missed, false = 500 * math.log(4), 600 * math.log(2)
    dice = 1 - (2 * 125 + 10) / (500 / 16 + 600 / 4 + 500 + 10)
    apart = lesion_loss(logits, instances, balanced=True).item()
    assert apart == pytest.approx(dice + 0.5 * missed / 500 + false / 600, rel=1e-5)
    together = lesion_loss(logits, instances, balanced=False).item()
    assert together == pytest.approx(dice + (missed + false) / (500 + 0.02 * 600), rel=1e-5)


def test_the_loss_by_scene_by_hand():
    instances = torch.zeros(2, 10, 10, 11, dtype=torch.uint8)
    instances[0, :, :, :1] = 1  # 100 voxels, each of weight √10, in 1000 of background; the second scene has none
    logits = torch.where(instances > 0, math.log(1 / 3), 0.0)  # probability 1/4 in the lesion, 1/2 outside
    weight = math.sqrt(10)
    first = (100 * weight * math.log(4) + 1000 * math.log(2)) / (100 * weight + 0.02 * 1000)
    dice = 1 - (2 * 25 + 10) / (100 / 16 + 1000 / 4 + 100 + 10)
    second = math.log(2) / 0.02
    assert scene_loss(logits, instances).item() == pytest.approx((first + dice + second) / 2, rel=1e-5)


def test_the_background_weighs_little_at_first():
    instances = torch.zeros(1, 10, 10, 11, dtype=torch.uint8)
    logits = torch.zeros(1, 10, 10, 11)
    light, full = (scene_loss(logits, instances, weight).item() for weight in (0.1, 1.0))
    assert light == pytest.approx(0.1 * full)
    recipe = Recipe(rates=RATES, balanced_until=100, background_weight=0.08)
    weights = [loop.background_weight(recipe, step) for step in (0, 50, 100, 5000)]
    assert weights == pytest.approx([0.012, math.sqrt(0.012 * 0.08), 0.08, 0.08])
    assert loop.background_weight(Recipe(rates=RATES, balanced_until=0), 0) == 1.0


def test_scenes_of_ct_are_windowed_and_brains_emptied_to_air():
    recipe = Recipe(rates=RATES, sequences=("ct",), stripped=1.0, patch=48, steps=1)
    image, truth, brain = SceneDataset([make_head(1)], recipe)[0]
    assert image.shape == (1, 48, 48, 48)
    assert truth.shape == brain.shape == (48, 48, 48)
    assert image.min().item() >= (-60 - 35) / 25
    assert image.max().item() <= (200 - 35) / 25
    assert (image[0][~brain] == (-60 - 35) / 25).all()


def test_by_scene_a_small_lesion_is_not_outweighed_by_a_large_one_elsewhere():
    instances = torch.zeros(2, 24, 24, 24, dtype=torch.uint8)
    instances[0, 2:22, 2:22, 2:22] = 1
    instances[1, 4:8, 4:8, 4:8] = 1
    right = torch.where(instances > 0, 6.0, -6.0)
    without_small, without_large = right.clone(), right.clone()
    without_small[1], without_large[0] = -6.0, -6.0
    costs = [scene_loss(logits, instances) - scene_loss(right, instances) for logits in (without_small, without_large)]
    assert costs[0] > 0.4 * costs[1]
    whole = [lesion_loss(x, instances, balanced=False) for x in (right, without_small, without_large)]
    assert whole[1] - whole[0] < 0.1 * (whole[2] - whole[0])


@pytest.mark.parametrize("balanced", [True, False])
def test_the_loss_of_a_scene_without_lesions_is_finite_and_falls_with_confidence(balanced):
    instances = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    unsure, sure = (lesion_loss(torch.full((1, 8, 8, 8), logit), instances, balanced=balanced) for logit in (0.0, -9.0))
    assert 0 < sure < 0.1 < unsure


def test_wrong_recipes_list_all_that_is_wrong(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('sead = 3\nbatch = "many"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"batch.*sead|sead.*batch"):
        read_recipe(path)


def test_the_rate_warms_up_and_falls():
    recipe = Recipe(steps=1000, warmup=10, rates=(Rate(over=1000, highest=2.0),))
    assert loop.learning_rate(recipe, 0) == pytest.approx(0.2, rel=1e-3)
    assert loop.learning_rate(recipe, 500) == pytest.approx(2 * (0.01 + 0.99 * 0.5), rel=1e-6)
    assert loop.learning_rate(recipe, 1000) == pytest.approx(0.02)


def test_one_rate_follows_another():
    rates = (Rate(over=1000, highest=2.0), Rate(at=600, over=400, highest=0.5))
    recipe = Recipe(steps=1000, warmup=10, rates=rates)
    assert loop.learning_rate(recipe, 500) == pytest.approx(2 * (0.01 + 0.99 * 0.5), rel=1e-6)
    assert loop.learning_rate(recipe, 600) == pytest.approx(0.5)
    assert loop.learning_rate(recipe, 800) == pytest.approx(0.5 * (0.01 + 0.99 * 0.5), rel=1e-6)


def test_scenes_do_not_depend_on_where_one_starts():
    recipe = Recipe(rates=RATES, steps=2, batch=2, patch=32, made_share=1.0, label_share=0.0)
    dataset = SceneDataset([make_head(1)], recipe)
    later = SceneDataset([make_head(1)], recipe, first=2)
    assert len(later) == 2
    for a, b in zip(dataset[3], later[1], strict=True):
        assert torch.equal(a, b)


def test_the_phases_of_a_run_follow_each_other():
    changes = (Change(at=10, patch=96, batch=2), Change(at=15, small_share=0.5))
    recipe = Recipe(rates=RATES, steps=20, batch=5, patch=64, small_share=0.1, changes=changes)
    parts = [(p.start, p.stop, p.first, p.recipe.patch, p.recipe.batch, p.recipe.small_share) for p in recipe.phases()]
    assert parts == [(0, 10, 0, 64, 5, 0.1), (10, 15, 50, 96, 2, 0.1), (15, 20, 60, 96, 2, 0.5)]


@pytest.mark.parametrize("at", [(10, 10), (12, 5), (0,), (20,), (25,)])
def test_changes_out_of_order_are_refused(at):
    with pytest.raises(ValueError, match="one after the other"):
        Recipe(rates=RATES, steps=20, changes=tuple(Change(at=step) for step in at))


def test_a_scene_is_used_again_as_it_is_or_mirrored():
    recipe = Recipe(rates=RATES, steps=4, batch=3, patch=32, uses=6, made_share=1.0, label_share=0.0)
    dataset = SceneDataset([make_head(1)], recipe)
    _, _, first = dataset[0]
    others = [dataset[n] for n in range(1, 6)]
    assert first.any()
    as_it_is = [torch.equal(brain, first) for _, _, brain in others]
    mirrored = [torch.equal(brain, first.flip(0)) for _, _, brain in others]
    assert all(a != m for a, m in zip(as_it_is, mirrored, strict=True))
    assert any(as_it_is)
    assert any(mirrored)
    assert len({image.mean().item() for image, _, _ in others}) == 5  # normalised anew
    again = SceneDataset([make_head(1)], recipe, first=9)
    assert torch.equal(dataset[11][0], again[2][0])


def test_heads_are_cut_and_padded_as_in_use():
    dataset = HeadDataset([make_head(1)], Recipe(rates=RATES, target="brain", steps=3, batch=1, patch=80, stripped=0.5))
    for image, brain in (dataset[n] for n in range(3)):
        assert image.shape[1:] == brain.shape
        assert all(n % 16 == 0 for n in brain.shape)
        assert brain.dtype == torch.bool
        assert brain.any()
        assert image.abs().max() <= 8


def test_a_brain_finder_learns(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "read_hosts", lambda _data: [make_head(1)])
    recipe = Recipe(target="brain", steps=20, batch=1, patch=64, widths=(4, 8, 8), warmup=2, rates=RATES)
    monkeypatch.setattr(loop, "_LOG_EVERY", 10)
    loop.train(recipe, tmp_path, tmp_path / "run", workers=0)
    first, last = (line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines())
    assert float(last[3]) < float(first[3])
    assert last[2] == "0.0000"  # lesions are not its business


def test_a_run_that_stops_goes_on_as_if_it_had_not(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "read_hosts", lambda _data: [make_head(1)])
    monkeypatch.setattr(loop, "_SAVE_EVERY", 2)
    recipe = Recipe(
        steps=4,
        batch=1,
        patch=32,
        widths=(4, 4, 4),
        rates=RATES,
        balanced_until=1,
        fix_norm_from=2,
        label_share=0.5,
        made_share=0.5,
        changes=(Change(at=2, patch=48, batch=2),),
    )
    loop.train(recipe, tmp_path, tmp_path / "whole", workers=0)
    real_step, done = loop._one_step, []

    def dying_step(*args):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(1)
        return real_step(*args)

    monkeypatch.setattr(loop, "_one_step", dying_step)
    with pytest.raises(KeyboardInterrupt):
        loop.train(recipe, tmp_path, tmp_path / "parts", workers=0)
    monkeypatch.setattr(loop, "_one_step", real_step)
    loop.train(recipe, tmp_path, tmp_path / "parts", workers=0)
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["averaged"] for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    with pytest.raises(ConfigError, match="another recipe"):
        loop.train(recipe.model_copy(update={"seed": 2}), tmp_path, tmp_path / "parts", workers=0)


def test_the_log_of_a_run_that_was_killed_has_each_step_once(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "read_hosts", lambda _data: [make_head(1)])
    monkeypatch.setattr(loop, "_SAVE_EVERY", 2)
    monkeypatch.setattr(loop, "_LOG_EVERY", 1)
    recipe = Recipe(steps=4, batch=1, patch=32, widths=(4, 4, 4), rates=RATES, made_share=1.0, label_share=0.0)
    loop.train(recipe, tmp_path, tmp_path / "whole", workers=0)
    real_step = loop._one_step

    def dying_step(*args):
        if args[-1] == 3:
            raise KeyboardInterrupt
        return real_step(*args)

    monkeypatch.setattr(loop, "_one_step", dying_step)
    log = tmp_path / "parts" / "log.csv"
    with pytest.raises(KeyboardInterrupt):
        loop.train(recipe, tmp_path, log.parent, workers=0)
    assert [row.partition(",")[0] for row in log.read_text().splitlines()] == ["1", "2", "3"]  # saved at step 2
    with log.open("a") as file:
        file.write("4,0.")  # as a power cut breaks off a row
    monkeypatch.setattr(loop, "_one_step", real_step)
    loop.train(recipe, tmp_path, log.parent, workers=0)
    whole, parts = (
        [(row[0], row[2:]) for row in (line.split(",") for line in path.read_text().splitlines())]
        for path in (tmp_path / "whole" / "log.csv", log)
    )
    assert [step for step, _ in parts] == ["1", "2", "3", "4"]
    assert parts == whole  # but for the minutes
    assert sorted(path.name for path in log.parent.iterdir()) == ["checkpoint.pt", "log.csv", "recipe.json"]


@pytest.mark.parametrize(
    ("step", "kept"), [(0, b""), (20, b"20,0.1\r\n"), (39, b"20,0.1\r\n"), (40, b"20,0.1\r\n40,0.2\r\n")]
)
def test_rows_beyond_a_step_are_cut_and_others_left_byte_by_byte(tmp_path, step, kept):
    path = tmp_path / "log.csv"
    path.write_bytes(b"20,0.1\r\n40,0.2\r\n\0\0\0\r\n60,0.3\r\n80")
    loop._cut_log(path, step)
    assert path.read_bytes() == kept
    before = path.stat().st_ino
    loop._cut_log(path, step)
    assert path.stat().st_ino == before  # nothing to cut, nothing written
    loop._cut_log(tmp_path / "none.csv", step)
    assert not (tmp_path / "none.csv").exists()


def test_a_run_starts_from_the_weights_of_its_recipe_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "read_hosts", lambda _data: [make_head(1)])
    path = tmp_path / "weights.safetensors"
    given = CompactUNet(widths=(4, 4, 4)).state_dict()
    save_file(given, path)
    recipe = Recipe(
        steps=1,
        batch=1,
        patch=32,
        widths=(4, 4, 4),
        rates=(Rate(over=1, highest=0.0),),
        fix_norm_from=0,
        made_share=1.0,
    )
    with pytest.raises(ConfigError, match=r"starts from random weights, but --start gives [0-9a-f]{64}"):
        loop.train(recipe, tmp_path, tmp_path / "run", workers=0, start=path)
    wanting = recipe.model_copy(update={"start_sha256": sha256_of(path)})
    with pytest.raises(ConfigError, match="but --start gives none"):
        loop.train(wanting, tmp_path, tmp_path / "other", workers=0)
    loop.train(wanting, tmp_path, tmp_path / "third", workers=0, start=path)
    made = torch.load(tmp_path / "third" / "checkpoint.pt", weights_only=True)["network"]
    assert all(torch.equal(made[key], given[key]) for key in given)
