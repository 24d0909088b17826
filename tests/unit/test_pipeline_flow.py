"""Three stages at the same time, in order, with at most three items held; no test here trusts a clock."""

import threading
import weakref
from threading import Barrier, Event, current_thread, main_thread

import pytest

from metseg.pipeline.flow import in_three_stages


def as_it_is(item):
    return item


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("metseg")]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_every_item_passes_all_stages_in_order(count):
    finished = []
    in_three_stages(range(count), lambda n: n + 10, lambda n: 2 * n, finished.append, Event())
    assert finished == [2 * (n + 10) for n in range(count)]
    assert alive() == []


def test_three_items_are_in_hand_at_the_same_time():
    meeting = Barrier(3, timeout=60)  # breaks, and fails the test, unless three come at once

    def meets(item, wanted):
        if item == wanted:
            meeting.wait()
        return item

    in_three_stages("abc", lambda i: meets(i, "c"), lambda i: meets(i, "b"), lambda i: meets(i, "a"), Event())
    assert not meeting.broken


def test_never_more_than_three_items_are_held():
    held, most = weakref.WeakSet(), []

    class Study:
        pass

    def read(_):
        study = Study()
        held.add(study)
        most.append(len(held))
        return study

    in_three_stages(range(9), read, as_it_is, as_it_is, Event())
    assert len(most) == 9
    assert max(most) <= 3
    assert len(held) == 0


def test_the_last_stage_runs_in_the_calling_thread_and_a_lone_item_there_alone():
    where = {"read": [], "work": [], "finish": []}

    def note(stage):
        return lambda item: where[stage].append(current_thread()) or item

    in_three_stages([1, 2], note("read"), note("work"), note("finish"), Event())
    assert where["finish"] == [main_thread()] * 2
    assert main_thread() not in where["read"] + where["work"]
    in_three_stages([1], note("read"), note("work"), note("finish"), Event())
    assert {threads[-1] for threads in where.values()} == {main_thread()}


@pytest.mark.parametrize("stage", ["read", "work", "finish"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_a_stage_raises_ends_it_all_and_no_thread_stays(stage, error):
    stopped, finished = Event(), []

    def do(name):
        def run(item):
            if (name, item) == (stage, 2):
                raise error
            if name == "finish":
                finished.append(item)
            return item

        return run

    with pytest.raises(error):
        in_three_stages([1, 2, 3], do("read"), do("work"), do("finish"), stopped)
    assert finished in ([1], [])
    assert stopped.is_set()
    assert alive() == []


def test_stages_that_watch_for_the_stop_end():
    stopped = Event()

    def work(item):
        if item == 2:
            assert stopped.wait(60)
        return item

    def finish(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_three_stages([1, 2, 3], as_it_is, work, finish, stopped)
    assert alive() == []
