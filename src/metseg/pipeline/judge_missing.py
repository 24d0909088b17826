"""A missing prediction is a failure: the worst that each profile knows, never a gap in a mean.

2025 has official values for it. The others do not: they score an empty prediction, which is right where there are
lesions; where there are none, an empty prediction would be rewarded, so there the worst score is put in its place.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from metseg.config.evaluation import JudgeOptions
from metseg.evaluate.brats2023 import PENALTY_MM
from metseg.evaluate.brats2025 import missing_row
from metseg.evaluate.field import FieldCase
from metseg.evaluate.seed import SeedCase

_KEPT: Final = ("Num_TP", "Num_FP", "Num_FN", "Specificity", "GT_Complete_Volume")


def failed_blocks(blocks: Mapping[str, Any], shape: tuple[int, ...], options: JudgeOptions) -> dict[str, Any]:
    """The challenges' scores of a missing prediction, from those of an empty one.

    Args:
        blocks: the latter, by the keys of evaluation.json.
        shape: of the volume; its diagonal is the penalty of 2024.
        options: which variant of 2025.
    """
    failed = dict(blocks)
    penalties = {"brats2023": PENALTY_MM, "brats2024": math.hypot(*shape), "brats2024_legacy": math.hypot(*shape)}
    for name, penalty in penalties.items():
        if name in failed:
            failed[name] = {region: _failed(scores, penalty) for region, scores in failed[name].items()}
    if "brats2025" in failed:
        failed["brats2025"] = missing_row(options.brats2025.parser, tuple(failed["brats2025_raw"]))
    return failed


def _failed(scores: Mapping[str, float], penalty: float) -> dict[str, float]:
    worst = {name: penalty if "HD95" in name else 0.0 for name in scores if name not in _KEPT}
    return {**scores, **worst}


def failed_seed(case: SeedCase | None) -> SeedCase | None:
    """Dice 0, whatever the reference holds."""
    return None if case is None else replace(case, dice=0.0)


def failed_field(case: FieldCase | None) -> FieldCase | None:
    """Dice and F1 are 0, whatever the reference holds; its lesions are missed."""
    return None if case is None else replace(case, dice=0.0, f1=0.0)
