"""surface-distance's and panoptica's numbers on every golden case."""

import math

import numpy as np
import pytest

from metseg.evaluate import panoptic, surface
from metseg.evaluate.regions import region_mask
from same_numbers import differences

REGIONS = ("WT", "TC", "ET", "RC")


def test_voxels_and_surfaces(golden_cases):
    for case in golden_cases:
        mine = {region: surface.block_of(case.prepared.pairs[region]) for region in REGIONS}
        assert differences(mine, case.scores["voxel_and_surface"]) == [], case.name


def test_panoptic_quality(golden_cases):
    for case in golden_cases:
        mine, official = panoptic.blocks_of(case.prepared.pairs["TC"]), case.scores["panoptica_tc"]
        assert differences(mine, official) == [], case.name
        for matcher, scores in official.items():
            assert [name for name in ("prec", "rec") if name not in mine[matcher]] == scores.get("_absent", [])


def test_masks_score_as_prepared_regions(golden_cases):
    for case in (case for case in golden_cases if case.prediction.size < 1e6):
        masks = region_mask(case.prediction, "TC"), region_mask(case.reference, "TC")
        block = surface.surface_block(*masks, case.spacing_mm)
        assert differences(block, case.scores["voxel_and_surface"]["TC"]) == [], case.name
        assert differences(panoptic.panoptic_block(*masks), case.scores["panoptica_tc"]) == [], case.name
        if any(np.any(mask) for mask in masks):
            assert surface.hd95(*masks, case.spacing_mm) == block["hd95"]
            assert surface.element_nsd(*masks, case.spacing_mm, 0.5) == pytest.approx(block["nsd_0.5mm"], nan_ok=True)
        else:
            assert math.isnan(surface.hd95(*masks, case.spacing_mm))
