"""Panoptic quality of lesions: recognition (RQ, an F1), segmentation (SQ, the mean over matches) and their product.

Kirillov et al., CVPR 2019; numbers, names and edge cases as panoptica 2.1.7 (Kofler et al., arXiv:2312.02608) gives
them for masks, whose 26-connected components are the instances. Matching is one-to-one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from metseg.evaluate.pair import RegionPair
from metseg.evaluate.surface import region_pair

Pairs = list[tuple[int, int]]
Numbers = NDArray[np.uint32]
# A cost matrix with more entries is split where nothing overlaps.
_LARGEST_MATRIX: Final = 4_000_000
_UNMATCHED: Final = 1 + 1e-6


@dataclass(frozen=True)
class Matcher:
    """How predicted instances find their reference.

    Args:
        method: naive (the best pair first, then the next best of those left) or bipartite (the assignment with the
            largest sum).
        metric: what makes a pair good: ``"iou"`` or ``"dsc"`` (Dice).
        threshold: the least of it that a match needs.
    """

    method: Literal["naive", "bipartite"]
    metric: Literal["iou", "dsc"]
    threshold: float


MATCHERS: Final[Mapping[str, Matcher]] = {
    "naive_iou0.5": Matcher("naive", "iou", 0.5),
    "naive_iou0.1": Matcher("naive", "iou", 0.1),
    "bipartite_dsc1e-6": Matcher("bipartite", "dsc", 1e-6),
}


def overlap(pair: RegionPair, metric: Literal["iou", "dsc"], one: int, other: int) -> float:
    """IoU or Dice of a component of the reference and one of the prediction."""
    shared = pair.shared.get((one, other), 0)
    total = int(pair.reference.sizes[one] + pair.prediction.sizes[other])
    return shared / (total - shared) if metric == "iou" else 2 * shared / total


def match(pair: RegionPair, matcher: Matcher, present: Numbers, predicted: Numbers) -> Pairs:
    """Match components one to one.

    Args:
        pair: the region.
        matcher: how.
        present: the number by which each component of the reference goes, by component; from 1, entry 0 is 0. Between
            pairs that are equally good the numbers decide.
        predicted: the same for the prediction.

    Returns:
        Pairs of components, reference and prediction, by increasing number in the reference.
    """
    scored = [(overlap(pair, matcher.metric, *both), both) for both in pair.shared]
    good = {both: score for score, both in scored if score >= matcher.threshold}
    choose = _best_first if matcher.method == "naive" else _largest_sum
    return sorted(choose(good, present, predicted), key=lambda both: int(present[both[0]]))


def _best_first(good: Mapping[tuple[int, int], float], present: Numbers, predicted: Numbers) -> Pairs:
    found: Pairs = []
    taken: tuple[set[int], set[int]] = set(), set()
    for one, other in sorted(good, key=lambda both: (-good[both], predicted[both[1]], present[both[0]])):
        if one not in taken[0] and other not in taken[1]:
            found.append((one, other))
            taken[0].add(one)
            taken[1].add(other)
    return found


def _largest_sum(good: Mapping[tuple[int, int], float], present: Numbers, predicted: Numbers) -> Pairs:
    ones, others = np.argsort(present)[1:], np.argsort(predicted)[1:]
    if len(ones) * len(others) <= _LARGEST_MATRIX:
        return _assign(good, ones, others)
    # Where nothing overlaps nothing can be matched: each cluster of overlapping components by itself.
    nodes = len(ones) + len(others)
    edges = np.array(list(good)).reshape(-1, 2) + np.array([-1, len(ones) - 1])
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(nodes, nodes))
    _, cluster = connected_components(graph, directed=False)
    clusters: dict[int, dict[tuple[int, int], float]] = {}
    for both, score in good.items():
        clusters.setdefault(int(cluster[both[0] - 1]), {})[both] = score
    return [pair for part in clusters.values() for pair in _assign(part, *(np.unique(side) for side in zip(*part)))]


def _assign(good: Mapping[tuple[int, int], float], ones: NDArray[np.int64], others: NDArray[np.int64]) -> Pairs:
    rows, columns = ({int(n): at for at, n in enumerate(side)} for side in (ones, others))
    costs = np.full((len(ones), len(others)), _UNMATCHED)
    for (one, other), score in good.items():
        costs[rows[one], columns[other]] = 1 - score
    return [(int(ones[r]), int(others[c])) for r, c in zip(*linear_sum_assignment(costs)) if costs[r, c] < 1]


def counts(pair: RegionPair, matched: int) -> dict[str, float]:
    """Instances, matches, false and missed ones, precision, recall and RQ.

    Quirk P3: precision and recall are absent where they would be 0/0.
    """
    present, predicted = pair.reference.count, pair.prediction.count
    numbers: dict[str, float] = {
        "n_ref_instances": present,
        "n_pred_instances": predicted,
        "tp": matched,
        "fp": predicted - matched,
        "fn": present - matched,
    }
    if predicted:
        numbers["prec"] = matched / predicted
    if present:
        numbers["rec"] = matched / present
    half = 0.5 * (predicted - matched) + 0.5 * (present - matched)
    numbers["rq"] = matched / (matched + half) if present + predicted else float("nan")
    return numbers


def mean_and_std(pair: RegionPair, values: Sequence[float], unmatched: float) -> tuple[float, float]:
    """Mean and population standard deviation over matches.

    Where nothing matches the mean is ``unmatched``, or NaN where there is no instance at all; the deviation is NaN.
    """
    if len(values):
        return float(np.mean(values)), float(np.std(values))
    return (unmatched if pair.reference.count + pair.prediction.count else float("nan")), float("nan")


def panoptic_block(
    prediction_mask: Bool[np.ndarray, "i j k"], reference_mask: Bool[np.ndarray, "i j k"]
) -> dict[str, dict[str, float]]:
    """Panoptic scores of a mask's components, for each of ``MATCHERS``.

    ``sq``, ``pq`` are of the IoU, ``sq_dsc``, ``pq_dsc`` of Dice, ``global_bin_dsc`` is the Dice of the masks.
    Spacing plays no part in any.

    Raises:
        InputError: shapes that differ.
    """
    return blocks_of(region_pair(prediction_mask, reference_mask, (1, 1, 1)))


def blocks_of(pair: RegionPair) -> dict[str, dict[str, float]]:
    """The same for a region that has been prepared."""
    numbers = pair.reference.numbers, pair.prediction.numbers
    return {name: _block(pair, match(pair, matcher, *numbers)) for name, matcher in MATCHERS.items()}


def _block(pair: RegionPair, matches: Pairs) -> dict[str, float]:
    block = counts(pair, len(matches))
    metrics: tuple[tuple[str, Literal["iou", "dsc"]], ...] = (("", "iou"), ("_dsc", "dsc"))
    for suffix, metric in metrics:
        mean, std = mean_and_std(pair, [overlap(pair, metric, *both) for both in matches], 0.0)
        block |= {f"sq{suffix}": mean, f"sq{suffix}_std": std, f"pq{suffix}": mean * block["rq"]}
    return {**block, "global_bin_dsc": pair.dice(*pair.everything)}
