"""The official scorers' numbers on small made-up label maps, and those maps, prepared once."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from metseg.evaluate.pair import Case


@dataclass(frozen=True)
class GoldenCase:
    """One pair of label maps and what the official codes say of it."""

    name: str
    folder: Path
    scores: dict[str, Any]

    @cached_property
    def prediction(self) -> np.ndarray:
        return self._labels("prediction")

    @cached_property
    def reference(self) -> np.ndarray:
        return self._labels("reference")

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        return tuple(self.scores["spacing_mm"])

    @cached_property
    def prepared(self) -> Case:
        return Case.of(self.prediction, self.reference, self.spacing_mm)

    def _labels(self, side: str) -> np.ndarray:
        return np.asarray(nib.load(self.folder / self.scores[side]).dataobj)


@pytest.fixture(scope="session")
def golden(shared) -> dict[str, Any]:
    """All of the file."""
    return json.loads(shared("golden", "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def golden_cases(golden, shared) -> list[GoldenCase]:
    """Every case."""
    folder = shared("golden")
    return [GoldenCase(name, folder, scores) for name, scores in golden["cases"].items()]
