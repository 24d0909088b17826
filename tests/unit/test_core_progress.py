import pytest

from metseg.core.progress import JointProgress, no_progress, part_of


def heard():
    calls = []
    return calls, lambda *call: calls.append(call)


def test_a_part_fills_its_share():
    calls, progress = heard()
    part = part_of(progress, 0.2, 0.6)
    part(0, 4, "forward")
    part(3, 4, "forward")
    part(4, 4, "forward")
    assert [call[0] for call in calls] == pytest.approx([0.2, 0.5, 0.6])
    assert {call[1:] for call in calls} == {(1.0, "forward")}


def test_parts_nest():
    calls, progress = heard()
    part_of(part_of(progress, 0.5, 1.0), 0.0, 0.5)(1, 2, "inner")
    assert calls == [(0.625, 1.0, "inner")]


def test_a_part_with_nothing_to_do_is_done():
    calls, progress = heard()
    part_of(progress, 0.2, 0.6)(0, 0, "empty")
    assert calls == [(pytest.approx(0.6), 1.0, "empty")]


def test_nobody_hears_no_progress():
    assert no_progress(1, 2, "what") is None


def test_jobs_at_the_same_time_make_one_progress_that_never_goes_back():
    calls, progress = heard()
    joint = JointProgress(progress, 2)
    first, second = joint.of(0), joint.of(1)
    first(1, 4, "a: network")
    second(1, 2, "b: reading")
    first(0, 4, "a: again")
    first(4, 4, "a: done")
    second(0, 0, "b: done")
    assert calls == [
        (0.125, 1.0, "a: network"),
        (0.375, 1.0, "a: network"),
        (0.375, 1.0, "a: again"),
        (0.75, 1.0, "b: reading"),
        (1.0, 1.0, "b: done"),
    ]


def test_a_job_that_ends_before_the_first_has_begun_is_told_of():
    calls, progress = heard()
    JointProgress(progress, 2).of(1)(1, 1, "b: done")
    assert calls == [(0.5, 1.0, "b: done")]
