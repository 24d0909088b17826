"""Which predicted component found which lesion: a rule for pairs, and how many partners each may have.

Rules, each about one component P and one lesion R:
- ``any_overlap``: they share a voxel;
- ``dice``: 2·|P∩R| / (|P| + |R|) ≥ threshold;
- ``iou``: |P∩R| / |P∪R| ≥ threshold;
- ``centroid``: the voxel nearest to the centroid of P lies in R.
Assignments, among the pairs that meet the rule:
- ``many_to_many``: every pair counts: a lesion may be found by several components, and a component may find several;
- ``many_to_one``: a component counts for one lesion only, that of the highest Dice (of equals the lower number);
- ``one_to_one``: a lesion and a component have one partner at most, such that the sum of the pairs' Dice is largest
  (Kuhn 1955; of equal sums, one with the most pairs).
The naming of localisation criterion and assignment follows Metrics Reloaded (Maier-Hein et al., Nat Methods 2024).
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from metseg.core.options import Options
from metseg.evaluate.instances import overlaps
from metseg.evaluate.parts import Parts

Rule = Literal["any_overlap", "dice", "iou", "centroid"]
Assignment = Literal["many_to_many", "many_to_one", "one_to_one"]
# Worth of a pair as such: below any difference of Dice that counts, above rounding.
_PAIR: Final = 1e-9


class MatchingOptions(Options):
    """The declared rule.

    Args:
        rule: when a component and a lesion belong together.
        threshold: for the rules ``dice`` and ``iou`` only, which need one.
        assignment: how many partners each may have.
    """

    rule: Rule = "any_overlap"
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    assignment: Assignment = "many_to_many"

    @model_validator(mode="after")
    def _threshold_where_it_counts(self) -> "MatchingOptions":
        if (self.threshold is not None) != (self.rule in ("dice", "iou")):
            message = "the rules dice and iou need a threshold, the others take none"
            raise ValueError(message)
        return self


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a component and a lesion, ordered by component, then lesion.

    Args:
        prediction: number of the component.
        reference: number of the lesion.
        shared: voxels in both.
        dice: of the two.
        iou: of the two.
    """

    prediction: Int[np.ndarray, " pair"]
    reference: Int[np.ndarray, " pair"]
    shared: Int[np.ndarray, " pair"]
    dice: Float[np.ndarray, " pair"]
    iou: Float[np.ndarray, " pair"]

    def __len__(self) -> int:
        return len(self.prediction)

    def only(self, which: Bool[np.ndarray, " pair"] | Int[np.ndarray, " some"]) -> "Pairs":
        """Some of the pairs."""
        return Pairs(
            self.prediction[which], self.reference[which], self.shared[which], self.dice[which], self.iou[which]
        )


def _pairs(
    prediction: NDArray[Any], reference: NDArray[Any], shared: NDArray[Any], parts: tuple[Parts, Parts]
) -> Pairs:
    """Pairs from numbers and shared voxels."""
    order = np.lexsort((reference, prediction))
    p, r, both = (np.asarray(a)[order].astype(np.int64) for a in (prediction, reference, shared))
    total = parts[0].voxels[parts[0].places(p)] + parts[1].voxels[parts[1].places(r)]
    return Pairs(p, r, both, 2 * both / total, both / (total - both))


def overlapping(
    prediction: UInt[np.ndarray, "i j k"], reference: UInt[np.ndarray, "i j k"], parts: tuple[Parts, Parts]
) -> Pairs:
    """All pairs that share a voxel; ``parts`` are those of the prediction and of the reference."""
    return _pairs(*overlaps(prediction, reference), parts)


def _by_centroid(reference: NDArray[Any], parts: tuple[Parts, Parts], pairs: Pairs) -> Pairs:
    """Pairs of a component and the lesion at its centroid; they need not overlap."""
    nearest = np.floor(parts[0].centroid + 0.5).astype(np.int64)
    at = reference[tuple(nearest.T)].astype(np.int64)
    inside = at > 0
    p, r = parts[0].ids[inside], at[inside]
    known = dict(zip(zip(pairs.prediction.tolist(), pairs.reference.tolist()), pairs.shared.tolist()))
    shared = np.array([known.get(pair, 0) for pair in zip(p.tolist(), r.tolist())], dtype=np.int64)
    return _pairs(p, r, shared, parts)


def _many_to_one(pairs: Pairs) -> Pairs:
    order = np.lexsort((pairs.reference, -pairs.dice, pairs.prediction))
    _, first = np.unique(pairs.prediction[order], return_index=True)
    return pairs.only(order[first])


def _one_to_one(pairs: Pairs) -> Pairs:
    """The assignment with the largest total Dice, found in each group of entangled pairs by itself."""
    if not len(pairs):
        return pairs
    _, rows = np.unique(pairs.prediction, return_inverse=True)
    _, columns = np.unique(pairs.reference, return_inverse=True)
    n_rows, n = rows.max() + 1, rows.max() + columns.max() + 2
    _, group = connected_components(coo_array((np.ones(len(pairs)), (rows, columns + n_rows)), shape=(n, n)), False)
    order = np.argsort(group[rows], kind="stable")
    edges = np.flatnonzero(np.diff(group[rows][order])) + 1
    return pairs.only(np.sort(np.concatenate([_assign(pairs, members) for members in np.split(order, edges)])))


def _assign(pairs: Pairs, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the pairs ``members``, those of the best one-to-one assignment."""
    if len(members) == 1:
        return members
    left, rows = np.unique(pairs.prediction[members], return_inverse=True)
    right, columns = np.unique(pairs.reference[members], return_inverse=True)
    worth, which = np.zeros((len(left), len(right))), np.full((len(left), len(right)), -1)
    worth[rows, columns] = pairs.dice[members] + _PAIR
    which[rows, columns] = members
    chosen = which[linear_sum_assignment(worth, maximize=True)]
    return np.asarray(chosen[chosen >= 0])


def assign(
    pairs: Pairs, reference: UInt[np.ndarray, "i j k"], parts: tuple[Parts, Parts], options: MatchingOptions
) -> Pairs:
    """The matched pairs.

    Args:
        pairs: all that overlap.
        reference: instance map of the truth, for the rule ``centroid``.
        parts: of the prediction, and of the reference.
        options: the declared rule.
    """
    if options.rule == "centroid":
        pairs = _by_centroid(reference, parts, pairs)
    elif options.threshold is not None:
        pairs = pairs.only((pairs.dice if options.rule == "dice" else pairs.iou) >= options.threshold)
    if options.assignment == "many_to_one":
        return _many_to_one(pairs)
    return _one_to_one(pairs) if options.assignment == "one_to_one" else pairs


def match(
    prediction: UInt[np.ndarray, "i j k"], reference: UInt[np.ndarray, "i j k"], options: MatchingOptions
) -> Pairs:
    """Match the components of a prediction to the lesions of a reference.

    Args:
        prediction: instance numbers, 0 for background.
        reference: the same for the truth.
        options: the declared rule.
    """
    parts = Parts.of(prediction), Parts.of(reference)
    return assign(overlapping(prediction, reference, parts), reference, parts, options)
