"""Profile field where its numbers mean the same as panoptica's: panoptic quality, and one-to-one assignment by Dice."""

import json

import nibabel
import numpy as np
import pytest

from metseg.evaluate.bootstrap import BootstrapOptions
from metseg.evaluate.field import FieldOptions, score_case, summarise

OPTIONS = FieldOptions(matching={"assignment": "one_to_one"}, bootstrap=BootstrapOptions(resamples=0))
HALVES = ("case11", "case15")
CASES = [f"case{n:02}" for n in range(1, 25, 2)]


def tumour_core(path):
    return np.isin(np.asarray(nibabel.load(path).dataobj), (1, 3))


@pytest.mark.parametrize("name", CASES)
def test_the_tumour_core_scores_as_panoptica_scores_it(name, shared):
    golden = json.loads(shared("golden", "golden.json").read_text(encoding="utf-8"))["cases"]
    expected, spacing_mm = golden[name]["panoptica_tc"], tuple(golden[name]["spacing_mm"])
    masks = [tumour_core(shared("golden", f"{name}_{side}.nii.gz")) for side in ("pred", "ref")]
    case = score_case(*masks, spacing_mm, OPTIONS)
    pooled = summarise([("a", case)], OPTIONS).numbers
    naive, bipartite = expected["naive_iou0.5"], expected["bipartite_dsc1e-6"]
    # An IoU of exactly a half matches there, but not in the paper, which field follows.
    halves = naive["tp"] - case.panoptic.true
    assert halves == (2 if name in HALVES else 0)
    assert (case.panoptic.false - halves, case.panoptic.missed - halves) == (naive["fp"], naive["fn"])
    assert case.panoptic.iou + 0.5 * halves == pytest.approx(naive["tp"] * naive["sq"] if naive["tp"] else 0)
    for key in () if halves else ("sq", "rq", "pq"):
        undefined = naive[key] == "NaN" or (key == "sq" and not naive["tp"])
        assert pooled[key].value == (None if undefined else pytest.approx(naive[key], rel=1e-9)), key
    assert (case.found, case.false) == (bipartite["tp"], bipartite["fp"])
    if bipartite["tp"]:
        assert pooled["found_lesion_dice_mean"].value == pytest.approx(bipartite["sq_dsc"], rel=1e-9)
    if case.status != "both_empty":
        assert case.dice == pytest.approx(naive["global_bin_dsc"], rel=1e-9)
