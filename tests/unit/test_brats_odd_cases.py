"""Empty maps, tiny lesions, touching ones, chains and the official quirks, written by hand."""

import math

import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.evaluate import brats2023, brats2024, brats2025, panoptic
from metseg.evaluate.brats2024 import merge_by_core
from metseg.evaluate.leaderboard import leaderboard_row
from metseg.evaluate.panoptic import Matcher
from metseg.evaluate.surface import region_pair

ONE_MM = (1.0, 1.0, 1.0)
DIAGONAL = math.sqrt(20**2 + 18**2 + 16**2)


def labels(*lesions) -> np.ndarray:
    """A map of (value, box), 20×18×16."""
    array = np.zeros((20, 18, 16), dtype=np.uint8)
    for value, *box in lesions:
        array[tuple(box)] = value
    return array


CUBE = (3, np.s_[2:6], np.s_[2:6], np.s_[2:6])
FAR = (3, np.s_[12:15], np.s_[12:15], np.s_[10:13])
DOT = (3, 17, 3, 3)


def test_both_empty():
    empty = labels()
    one, two = brats2023.score_case(empty, empty, ONE_MM), brats2024.score_case(empty, empty, ONE_MM)
    for scores in (one.regions["WT"], two.regions["RC"]):
        assert (scores["LesionWise_Score_Dice"], scores["LesionWise_Score_HD95"]) == (1, 0)
        assert (scores["Sensitivity"], scores["Specificity"], scores["Legacy_HD95"]) == (1, 1, 0)
    assert two.regions["ET"]["LesionWise_Score_NSD @ 0.5"] == two.legacy["ET"]["Legacy NSD @ 1.0"] == 1
    row = brats2025.score_case(empty, empty, ONE_MM).row
    assert (row["all_instance_tp_wt"], row["large_instance_f1_wt"]) == (0, 0)
    assert all(
        math.isnan(row[f"{name}_wt"]) for name in ("all_instance_f1", "lesionwise_dsc_mean", "small_instance_tp")
    )


def test_empty_reference():
    empty, prediction = labels(), labels(CUBE, DOT)
    one = brats2023.score_case(prediction, empty, ONE_MM).regions["ET"]
    assert (one["LesionWise_Score_Dice"], one["LesionWise_Score_HD95"], one["Num_FP"]) == (0, 374, 2)
    assert (one["Legacy_HD95"], one["Sensitivity"]) == (374, 0)
    two = brats2024.score_case(prediction, empty, ONE_MM).regions["ET"]
    assert (two["LesionWise_Score_Dice"], two["LesionWise_Score_HD95"]) == pytest.approx((0, DIAGONAL))
    assert two["Num_FP"] == 1  # the dot is deleted
    # Only dots: nothing is left, so 2024 counts the case as perfect and 2023 does not.
    assert brats2024.score_case(labels(DOT), empty, ONE_MM).regions["ET"]["LesionWise_Score_Dice"] == 1
    assert brats2023.score_case(labels(DOT), empty, ONE_MM).regions["ET"]["LesionWise_Score_Dice"] == 0
    row = brats2025.score_case(prediction, empty, ONE_MM).row
    assert (row["all_instance_fp_et"], row["all_instance_f1_et"], row["large_instance_fp_et"]) == (2, 0, 2)
    assert math.isnan(row["lesionwise_hd95_mean_et"])


def test_empty_prediction():
    empty, reference = labels(), labels(CUBE, DOT)
    one = brats2023.score_case(empty, reference, ONE_MM)
    scores = one.regions["ET"]
    assert (scores["Num_TP"], scores["Num_FN"], scores["LesionWise_Score_HD95"]) == (0, 1, 374)
    assert [lesion["hd95_lesionwise"] for lesion in one.lesions["ET"]] == [math.inf, math.inf]
    two = brats2024.score_case(empty, reference, ONE_MM)
    assert [lesion["hd95_lesionwise"] for lesion in two.lesions["ET"]] == pytest.approx([DIAGONAL] * 2)
    # Only lesions of at most 2 mm³: none is scored, so 0/0 counts as perfect.
    assert brats2023.score_case(empty, labels(DOT), ONE_MM).regions["ET"]["LesionWise_Score_Dice"] == 1
    row = brats2025.score_case(empty, reference, ONE_MM).row
    assert [row[f"lesionwise_{name}_mean_et"] for name in ("dsc", "hd95", "nsd")] == [0, 373, 0]
    assert (row["small_instance_fn_et"], row["small_instance_f1_et"]) == (1, 0)


def test_contact_counts_from_an_edge_on():
    edge = (3, np.s_[6:8], np.s_[6:8], np.s_[2:4])
    corner = (3, np.s_[6:8], np.s_[6:8], np.s_[6:8])
    # The cube ends at 5, so edge and corner touch it as they are called.
    touched = brats2023.score_case(labels(edge), labels(CUBE), ONE_MM)
    assert touched.regions["ET"]["Num_TP"] == 1
    assert touched.lesions["ET"][0]["dice_lesionwise"] == 0  # quirk Y5
    missed = brats2023.score_case(labels(corner), labels(CUBE), ONE_MM).regions["ET"]
    assert (missed["Num_TP"], missed["Num_FP"], missed["Num_FN"]) == (0, 1, 1)


@pytest.mark.parametrize(("gap", "lesions"), [(1, 1), (2, 1), (3, 1), (4, 2)])
def test_lesions_merge_over_gaps(gap, lesions):
    reference = labels(CUBE, (3, np.s_[5 + gap : 8 + gap], np.s_[2:6], np.s_[2:6]))
    assert len(brats2023.score_case(reference, reference, ONE_MM).lesions["ET"]) == lesions
    assert brats2025.score_case(reference, reference, ONE_MM).raw["et"]["n_ref_instances"] == 1 + (gap > 1)


def test_a_lesion_too_small_to_score_absorbs_what_it_touches():
    scores = brats2023.score_case(labels((3, np.s_[16:19], 3, 3)), labels(DOT), ONE_MM).regions["ET"]  # quirk Y6
    assert (scores["Num_TP"], scores["Num_FP"], scores["LesionWise_Score_Dice"]) == (0, 0, 1)


def test_2024_sees_numbers_where_it_means_masks():
    reference = labels(CUBE, FAR)
    two = brats2024.score_case(reference, reference, ONE_MM)
    # Quirk Y1: 64 hits, and 64·1 + 27·2 stands for the number of voxels.
    assert two.regions["ET"]["Sensitivity"] == pytest.approx(64 / (64 + 27 * 2))
    assert two.legacy["ET"]["Sensitivity"] == 1
    # HD95 of numbers: the inside of the second lesion is surface, too.
    around = (3, np.s_[9:18], np.s_[9:18], np.s_[7:16])
    second = brats2024.score_case(reference, labels(CUBE, around), ONE_MM)
    assert second.regions["ET"]["Legacy_HD95"] == pytest.approx(math.sqrt(18))
    assert second.legacy["ET"]["Legacy_HD95"] == pytest.approx(math.sqrt(19))
    only = brats2024.score_case(labels(FAR), labels(around), ONE_MM)
    assert only.regions["ET"]["Legacy_HD95"] == only.legacy["ET"]["Legacy_HD95"]


def test_2024_deletes_before_its_whole_scores():
    reference = labels(CUBE, DOT)
    two = brats2024.score_case(reference, reference, ONE_MM)
    assert two.regions["ET"]["Legacy_Dice"] == pytest.approx(2 * 64 / (64 + 65))  # quirk Y2
    assert two.legacy["ET"]["Legacy_Dice"] == 1


def test_2024_limits_are_voxels_and_mm3():
    pair = labels((3, 17, 3, np.s_[3:5]))
    coarse = brats2024.score_case(pair, pair, (1.0, 1.0, 2.0)).regions["ET"]
    # Quirk Y3: two voxels of 2 mm³ are a lesion in the reference, and deleted from the prediction.
    assert (coarse["Num_TP"], coarse["Num_FN"], coarse["LesionWise_Score_Dice"]) == (0, 1, 0)


def test_et_lesions_merge_by_the_core_they_touch():
    core = (1, np.s_[6:12], np.s_[3:5], np.s_[3:5])
    caps = (3, np.s_[4:6], np.s_[3:5], np.s_[3:5]), (3, np.s_[12:14], np.s_[3:5], np.s_[3:5])
    ring = labels(core, *caps)
    assert len(brats2024.score_case(ring, ring, ONE_MM).lesions["ET"]) == 1
    assert len(brats2023.score_case(ring, ring, ONE_MM).lesions["ET"]) == 2


def test_chains_of_cores_are_not_joined():
    lesions, cores = np.arange(5, dtype=np.uint32), np.arange(3, dtype=np.uint32)
    chain = [(1, 1), (2, 1), (2, 2), (3, 2)]
    # 1 and 2 go to core 1, 3 to core 2, 4 stays itself and comes first.
    assert merge_by_core(lesions, cores, chain).tolist() == [0, 2, 2, 3, 1]
    assert merge_by_core(lesions, cores, [(1, 2)]).tolist() == [0, 1, 2, 3, 4]  # quirk Y4
    deleted = np.array([0, 1, 0, 3, 0], dtype=np.uint32)
    assert merge_by_core(deleted, cores, chain).tolist() == [0, 1, 0, 2, 0]


def test_files_swap_the_spacing():
    prediction, reference = labels(CUBE), labels((3, np.s_[2:6], np.s_[2:6], np.s_[2:8]))
    swapped = brats2025.score_case(prediction, reference, (1.0, 1.0, 3.0)).raw["et"]  # quirk P1
    right = brats2025.score_case(prediction, reference, (1.0, 1.0, 3.0), file_quirk=False).raw["et"]
    assert (swapped["sq_hd95"], right["sq_hd95"]) == (2, 6)
    assert swapped["reference_instances"][0]["volume"] == right["reference_instances"][0]["volume"] == 96 * 3


def test_whole_scores_need_a_shared_voxel():
    beside = brats2025.score_case(labels((3, np.s_[6:9], *CUBE[2:])), labels(CUBE), ONE_MM).raw["et"]  # quirk P2
    assert [beside[f"global_bin_{name}"] for name in ("dsc", "hd95", "nsd")] == [0, math.inf, 0]
    wide = brats2025.score_case(labels(CUBE), labels((3, np.s_[2:8], *CUBE[2:])), (5.0, 1.0, 1.0)).raw["et"]
    assert wide["global_bin_hd95"] == 2  # voxels, not 10 mm


def _raw(volumes, dices, false) -> dict[str, dict]:
    rows = [
        {"volume": volume, "is_matched": int(dice is not None)}
        | ({} if dice is None else {"sq_dsc": dice, "sq_hd95": 2.0, "sq_nsd": 0.5})
        for volume, dice in zip(volumes, dices)
    ]
    found = sum(dice is not None for dice in dices)
    counts = {"tp": found, "fp": false, "fn": len(rows) - found, "rq": 0.5}
    whole = {"global_bin_dsc": 0.5, "global_bin_hd95": math.inf, "global_bin_nsd": 0.1}
    return {"et": {**counts, **whole, "reference_instances": rows}}


def test_parsers_disagree_on_missed_and_false_lesions():
    raw = _raw((40.0, 27.0, 26.9), (0.8, None, 0.1), false=2)
    old, pinned, new = (leaderboard_row(raw, parser) for parser in ("git_791134c", "pypi_0.0.8", "pypi_0.0.10"))
    assert old["lesionwise_dsc_mean_et"] == pytest.approx(0.8)  # quirk B1
    assert pinned["lesionwise_dsc_mean_et"] == new["lesionwise_dsc_mean_et"] == pytest.approx(0.8 / 4)
    assert (old["lesionwise_hd95_mean_et"], pinned["lesionwise_hd95_mean_et"]) == (2, (2 + 3 * 373) / 4)
    assert (pinned["large_instance_tp_et"], pinned["large_instance_fn_et"]) == (1, 1)
    assert pinned["large_instance_f1_et"] == pytest.approx(2 / (2 + 2 + 1))
    assert (pinned["small_instance_tp_et"], pinned["small_instance_fn_et"]) == (0, 1)
    assert leaderboard_row(raw, overlap=0.1)["small_instance_tp_et"] == 1
    assert math.isnan(leaderboard_row(raw, large_mm3=20.0)["small_instance_tp_et"])
    assert new["global_hd95_et"] == 373
    assert "large_instance_tp_et" not in old


def test_parsers_disagree_where_there_is_no_large_lesion():
    raw = _raw((5.0,), (0.5,), false=3)
    pinned, new = (leaderboard_row(raw, parser) for parser in ("pypi_0.0.8", "pypi_0.0.10"))
    names = [f"large_instance_{name}_et" for name in ("tp", "fp", "fn", "f1")]
    assert [pinned[name] for name in names] == [0, 3, 0, 0]  # quirk B2
    assert all(math.isnan(new[name]) for name in names)
    assert math.isnan(pinned["lesionwise_dsc_mean_et"])


def test_a_missing_prediction_fills_its_row():
    pinned, new = brats2025.missing_row(), brats2025.missing_row("pypi_0.0.10")
    assert (pinned["lesionwise_hd95_mean_wt"], pinned["lesionwise_hd95_std_wt"]) == (373, 373)
    assert (new["lesionwise_hd95_mean_wt"], new["lesionwise_hd95_std_wt"], new["global_hd95_wt"]) == (373, 0, 373)
    assert (pinned["all_instance_f1_rc"], len(pinned), len(new)) == (0, 72, 108)


def test_aggregate_skips_nan():
    rows = [
        {"a": 1.0, "b": math.nan, "c": math.nan},
        {"a": 2.0, "b": 4.0, "c": math.nan},
        {"a": 6.0, "b": math.nan, "c": math.nan},
    ]
    below = brats2025.aggregate(rows)
    assert (below["mean"]["a"], below["std"]["a"], below["median"]["a"]) == pytest.approx((3, math.sqrt(7), 2))
    assert (below["mean"]["b"], below["median"]["b"]) == (4, 4)
    assert math.isnan(below["std"]["b"])
    assert math.isnan(below["mean"]["c"])
    assert set(brats2025.aggregate(rows, "git_791134c")) == {"mean", "std"}
    assert brats2025.aggregate([]) == {"mean": {}, "std": {}, "median": {}}


def test_masks_are_one_region():
    prediction, reference = labels(CUBE, DOT) > 0, labels(CUBE, FAR) > 0
    one = brats2023.score_case(prediction, reference, ONE_MM, binary=True)
    assert set(one.regions) == {"lesion"}
    et = brats2023.score_case(3 * prediction.astype(np.uint8), 3 * reference.astype(np.uint8), ONE_MM).regions["ET"]
    assert one.regions["lesion"] == et
    assert set(brats2024.score_case(prediction, reference, ONE_MM, binary=True).legacy) == {"lesion"}
    five = brats2025.score_case(prediction, reference, ONE_MM, binary=True)
    assert (five.raw["lesion"]["tp"], five.row["all_instance_fp_lesion"]) == (1, 1)


def test_unknown_labels_are_named():
    bad = labels(CUBE, (7, 1, 1, 1), (9, 2, 1, 1))
    for profile in (brats2023, brats2024, brats2025):
        with pytest.raises(InputError, match=r"prediction has label values .* 7, 9\.") as caught:
            profile.score_case(bad, labels(CUBE), ONE_MM)
        assert "3 ET" in caught.value.hint
    with pytest.raises(InputError, match="reference has label values"):
        brats2023.score_case(labels(), labels((4, 1, 1, 1)), ONE_MM, binary=True)


def test_shapes_and_spacings_must_fit(any_types):
    with pytest.raises(InputError, match="same shape"):
        brats2023.score_case(labels(), labels()[1:], ONE_MM)
    with pytest.raises(InputError, match="three positive lengths"):
        brats2025.score_case(labels(), labels(), (1.0, 0.0, 1.0))


def test_a_large_assignment_is_split_without_changing_it(monkeypatch):
    rng = np.random.default_rng(11)
    one, other = (rng.random((24, 22, 20)) < 0.03 for _ in range(2))
    pair = region_pair(one | (np.roll(other, 1, 0) & (rng.random(one.shape) < 0.7)), other | np.roll(one, 1, 1), ONE_MM)
    matcher = Matcher("bipartite", "dsc", 1e-6)
    numbers = pair.reference.numbers, pair.prediction.numbers
    whole = panoptic.match(pair, matcher, *numbers)
    monkeypatch.setattr(panoptic, "_LARGEST_MATRIX", 0)
    split = panoptic.match(pair, matcher, *numbers)
    assert len(whole) > 20
    assert len(split) == len(whole)
    scores = [sum(panoptic.overlap(pair, "dsc", *both) for both in matches) for matches in (whole, split)]
    assert scores[0] == pytest.approx(scores[1])


def test_the_best_pair_is_matched_first():
    # One prediction lies over two lesions: 12 of 16 and 4 of 8 voxels.
    reference = labels((3, 3, 3, np.s_[0:12]), (3, 6, 3, np.s_[0:8])) > 0
    prediction = labels((3, 3, 3, np.s_[0:8]), (3, 4, 3, np.s_[4:8]), (3, 5, 3, np.s_[4:8]), (3, 6, 3, np.s_[4:8])) > 0
    block = panoptic.panoptic_block(prediction, reference)
    assert block["naive_iou0.1"]["sq"] == pytest.approx(8 / (12 + 20 - 8))
    assert block["naive_iou0.5"]["tp"] == 0
    assert block["naive_iou0.5"]["sq"] == 0
    assert math.isnan(block["naive_iou0.5"]["sq_std"])
    assert (block["bipartite_dsc1e-6"]["tp"], block["bipartite_dsc1e-6"]["fn"]) == (1, 1)
