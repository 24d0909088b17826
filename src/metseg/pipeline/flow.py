"""Three stages over many items: while one item is finished, the next is worked on, and the third is read."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")
_Worked = TypeVar("_Worked")


def in_three_stages(
    items: Sequence[_Item],
    read: Callable[[_Item], _Read],
    work: Callable[[_Read], _Worked],
    finish: Callable[[_Worked], object],
    stopped: Event,
) -> None:
    """Do ``finish(work(read(item)))`` for every item, in order, each stage on one item at a time.

    ``finish`` runs in the calling thread, which is where an interrupt arrives, so that what writes files ends at once
    and tidies up. ``read`` and ``work`` run in two threads and must leave nothing behind: they are waited for. Never
    are more than three items held. A lone item needs no thread.

    Args:
        items: what to do.
        read: the first stage.
        work: the second stage, the longest.
        finish: the last stage.
        stopped: set when no more results are wanted; ``read`` and ``work`` should end soon after.

    Raises:
        BaseException: whatever a stage raises ends it all.
    """
    if len(items) < 2:
        for item in items:
            finish(work(read(item)))
        return
    pool = ThreadPoolExecutor(2, thread_name_prefix="metseg")
    reading: Future[_Read] | None = None
    working: Future[_Worked] | None = None
    following: _Item | None
    try:
        for following in (*items, None, None):
            # Both neighbours have ended here, so the two threads are free for the next step.
            worked = None if working is None else working.result()
            working = None if reading is None else pool.submit(work, reading.result())
            reading = None if following is None else pool.submit(read, following)
            if worked is not None:
                finish(worked)
            del worked  # or it would be held as a fourth while the next two end
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
