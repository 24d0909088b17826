"""All cases together: what goes below the tables, each mean with what it was taken over."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from metseg.config.evaluation import JudgeOptions
from metseg.evaluate import field as field_profile
from metseg.evaluate import seed as seed_profile
from metseg.evaluate.brats2025 import aggregate
from metseg.evaluate.calibration import reliability_sums
from metseg.evaluate.field import FieldCase
from metseg.pipeline.judge_case import JudgedCase

_BY_REGION: Final = ("brats2023", "brats2024", "brats2024_legacy", "surface", "panoptic")


def summarise_cohort(cases: Sequence[JudgedCase], options: JudgeOptions) -> dict[str, Any]:
    """The cohort's numbers by profile, from cases that were judged (missing predictions among them).

    ``brats2025`` has the official rows below the table. The other challenges' profiles give for every field the mean,
    standard deviation (n - 1) and median over the ``n`` cases with a finite value, and how many are NaN or infinite.
    """
    if not cases:
        return {}
    cohort: dict[str, Any] = {}
    for name in _BY_REGION:
        blocks = [case.judgement.blocks[name] for case in cases if name in case.judgement.blocks]
        if blocks:
            cohort[name] = _over(blocks)
    rows = [case.judgement.blocks["brats2025"] for case in cases if "brats2025" in case.judgement.blocks]
    if rows:
        cohort["brats2025"] = aggregate(rows, options.brats2025.parser)
    seeds = [(case.patient, case.judgement.seed) for case in cases if case.judgement.seed is not None]
    if seeds:
        cohort["seed"] = seed_profile.summarise(seeds, options.seed)
    fields = _field_cases(cases, options)
    if fields:
        cohort["field"] = field_profile.summarise(fields, options.field)
    return cohort


def _field_cases(cases: Sequence[JudgedCase], options: JudgeOptions) -> list[tuple[str, FieldCase]]:
    """Patient and score of each case.

    FROC needs probabilities of every case. Where all predictions have them, a missing one counts as having called
    nothing likely, so that its lesions are never found instead of taking the whole curve away.
    """
    found = [(case.patient, case.missing, case.judgement.field) for case in cases if case.judgement.field is not None]
    given = [score.reliability is not None for _, missing, score in found if not missing]
    if not (given and all(given)):
        return [(patient, score) for patient, _, score in found]
    nothing = reliability_sums(np.zeros(0), np.zeros(0, dtype=bool), options.field.calibration_bins)
    return [(patient, replace(score, reliability=nothing) if missing else score) for patient, missing, score in found]


def _over(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same nesting, with a summary in place of each number; a case may lack a field."""
    names = dict.fromkeys(name for block in blocks for name in block)
    found: dict[str, Any] = {}
    for name in names:
        values = [block[name] for block in blocks if name in block]
        nested = all(isinstance(value, Mapping) for value in values)
        found[name] = _over(values) if nested else _summary(values, len(blocks))
    return found


def _summary(values: Sequence[float], cases: int) -> dict[str, Any]:
    finite = [float(value) for value in values if math.isfinite(value)]
    infinite = sum(math.isinf(value) for value in values)
    return {
        "mean": float(np.mean(finite)) if finite else None,
        "std": float(np.std(finite, ddof=1)) if len(finite) > 1 else None,
        "median": float(np.median(finite)) if finite else None,
        "n": len(finite),
        "undefined": cases - len(finite) - infinite,
        "infinite": infinite,
    }
