"""One network trained by several processes, each with a part of every batch: torch's DistributedDataParallel.

They find each other through a port of this machine that the system chose. When one of them dies, the others, which
would wait for it, are ended at once.
"""

import sys
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import torch
from torch import distributed

from metseg.core.errors import MetsegError
from metseg.training.nnunet.messages import ERROR, RESULT, Say

_HOST: Final = "127.0.0.1"
_PATIENCE: Final = timedelta(hours=2)  # of one that waits for another, which may be reading a large study
_LOOK_S: Final = 0.2
Work = Callable[..., dict[str, Any]]


class ToldError(Exception):
    """One of the processes said what went wrong."""


def train_together(count: int, device: str, work: Work, arguments: tuple[Any, ...], say: Say) -> dict[str, Any]:
    """Have ``count`` processes do the same work; the first one's result is returned.

    Args:
        count: of processes; on CUDA each has the GPU of its number.
        device: ``"cuda"``, or ``"cpu"``, where they talk by gloo.
        work: called with the arguments and with what passes messages on.
        arguments: of the work; they must be such as can be pickled.
        say: gets the first process's messages, and every one's errors.

    Raises:
        ToldError: one of them failed and told why, which was passed on.
        MetsegError: one of them ended without a word.
    """
    store = distributed.TCPStore(_HOST, 0, None, is_master=True, wait_for_workers=False)
    context = get_context("spawn")
    ends, processes = [], []
    for number in range(count):
        here, there = context.Pipe(duplex=False)
        place = (number, count, device, store.port)
        processes.append(context.Process(target=_take_part, args=(place, there, work, arguments)))
        processes[-1].start()
        there.close()
        ends.append(here)
    try:
        return _listen(ends, processes, say)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _listen(ends: list[Connection], processes: list[Any], say: Say) -> dict[str, Any]:
    """Pass messages on until all have ended, or one badly."""
    result: dict[str, Any] = {}
    told, open_ends = False, list[Any](ends)
    while True:
        # Seen, not heard: processes that one has started itself may keep its pipe open.
        over = any(one.exitcode for one in processes) or not any(one.is_alive() for one in processes)
        ready: list[Any] = list(wait(open_ends, _LOOK_S))
        for end in ready:
            try:
                kind, content = end.recv()
            except EOFError:
                open_ends.remove(end)
                continue
            if kind == RESULT:
                result = result or content
            else:
                told = told or kind == ERROR
                say(kind, **content)
        if over and not ready:
            break
    if told:
        raise ToldError
    if codes := [process.exitcode for process in processes if process.exitcode]:
        first = min(codes)  # one that was killed, rather than those that missed it
        how = f"exit code {first}" if first > 0 else f"signal {-first}"
        raise MetsegError(
            f"One of the {len(processes)} processes that train together ended with {how}.",
            hint="The same command goes on from the last checkpoint. What they printed is in the run's logs.",
        )
    return result


def _take_part(place: tuple[int, int, str, int], end: Connection, work: Work, arguments: tuple[Any, ...]) -> None:
    """One process's part."""
    number, count, device, port = place

    def say(kind: str, **content: Any) -> None:
        if number == 0 or kind == ERROR:
            end.send((kind, content))

    if device == "cuda":
        torch.cuda.set_device(number)
    distributed.init_process_group(
        "nccl" if device == "cuda" else "gloo", store=distributed.TCPStore(_HOST, port, None, is_master=False),
        rank=number, world_size=count, timeout=_PATIENCE,
    )  # fmt: skip
    try:
        result = work(*arguments, say)
    except MetsegError:
        sys.exit(1)  # it was told
    say(RESULT, **result)
    distributed.destroy_process_group()
