"""Folds: every case judged once, and no group on both sides."""

import pytest

from metseg.datasets.splits import grouped_folds


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("cases", "groups"), [(20, 7), (23, 5), (6, 6), (9, 3), (4, 2)])
def test_each_case_is_held_out_once_and_groups_stay_together(cases, groups, seed):
    group = {f"case{n:02d}": f"g{(n * n) % groups}" for n in range(cases)}
    folds = grouped_folds(group, seed=seed)
    assert len(folds) == min(5, len(set(group.values())))
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(group)
    for fold in folds:
        assert fold["val"]
        assert sorted(fold["train"] + fold["val"]) == sorted(group)
        assert not {group[c] for c in fold["train"]} & {group[c] for c in fold["val"]}


def test_folds_are_of_like_size_where_groups_are():
    sizes = [len(fold["val"]) for fold in grouped_folds({f"c{n}": f"g{n // 2}" for n in range(30)})]
    assert sizes == [6, 6, 6, 6, 6]


def test_one_group_cannot_be_divided():
    assert grouped_folds({"a": "g", "b": "g"}) == []


def test_the_seed_decides():
    group = {f"c{n}": f"g{n}" for n in range(12)}
    assert grouped_folds(group, seed=1) == grouped_folds(group, seed=1)
    assert grouped_folds(group, seed=1) != grouped_folds(group, seed=2)
