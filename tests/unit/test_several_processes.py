"""Processes that train together: real ones, that add numbers by gloo, fail with a sentence, or die."""

import functools
import os
import signal
import time

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")

from torch import distributed  # noqa: E402

from metseg.core.errors import ConfigError, MetsegError  # noqa: E402
from metseg.training.nnunet.messages import plain_error  # noqa: E402
from metseg.training.nnunet.several import ToldError, train_together  # noqa: E402


def add(given, say):
    """The sum over all processes of the given number + their own."""
    own = torch.tensor(given + distributed.get_rank())
    distributed.all_reduce(own)
    say("progress", done=1, total=1, what=f"rank {distributed.get_rank()}")
    return {"sum": int(own)}


def fail(how, say):
    """The second fails; the first would wait for it for ever."""
    if distributed.get_rank() == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "told":
            error = ConfigError("No good.", hint="Do better.")
            say("error", **plain_error(error))
            raise error
        raise ValueError("quite unexpected")
    time.sleep(600)
    return {}


def run(work, argument):
    heard = []
    found = functools.partial(train_together, 2, "cpu", work, (argument,))
    return heard, lambda: found(lambda kind, **content: heard.append((kind, content)))


def test_they_talk_to_each_other_and_the_first_speaks_for_all():
    heard, start = run(add, 20)
    assert start() == {"sum": 41}
    assert heard == [("progress", {"done": 1, "total": 1, "what": "rank 0"})]


@pytest.mark.parametrize(("how", "told"), [("killed", "signal 9"), ("unknown", "exit code 1")])
def test_one_that_dies_ends_the_others(how, told):
    _, start = run(fail, how)
    with pytest.raises(MetsegError, match=f"One of the 2 processes that train together ended with {told}"):
        start()


def test_an_error_of_any_of_them_is_told():
    heard, start = run(fail, "told")
    with pytest.raises(ToldError):
        start()
    assert heard == [("error", {"error": "ConfigError", "message": "No good.", "hint": "Do better."})]
