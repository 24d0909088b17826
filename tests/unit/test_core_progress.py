import pytest

from metseg.core.progress import no_progress, part_of


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
