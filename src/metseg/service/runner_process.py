"""The worker's side of a runner: starts it, gives it jobs, and ends it where it takes too long or too much."""

import json
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Final

from metseg.service.problems import Problem

_LOOK_S: Final = 0.25
_START_S: Final = 120.0
OnProgress = Callable[[str, float], None]


class RunnerDiedError(Exception):
    """The process ended in the middle of a job.

    Args:
        how: a phrase.
    """

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class StoppedError(Exception):
    """Nobody wants the job any more."""


@dataclass(frozen=True)
class Bounds:
    """What a job may take.

    Args:
        seconds: wall clock.
        memory_bytes: resident.
    """

    seconds: float
    memory_bytes: int


class Runner:
    """One resident process; started when the first job comes, and again after it ended.

    Args:
        bounds: of every job.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def run(self, job: Mapping[str, Any], progress: OnProgress, wanted: Callable[[], bool]) -> dict[str, Any]:
        """Do a job.

        Args:
            job: for ``metseg.service.runner.run_job``.
            progress: told of stage and share.
            wanted: asked now and then whether to go on.

        Returns:
            What ``run_job`` returned.

        Raises:
            RunnerDiedError: the process ended by itself.
            StoppedError: it was not wanted any more.
            Problem: it took too long, or too much memory.
        """
        process = self._started()
        self._send(process, json.dumps(job))
        deadline, look = time.monotonic() + self._bounds.seconds, 0.0
        while True:
            with suppress(queue.Empty):
                message = self._messages.get(timeout=_LOOK_S)
                if message is None:
                    self.stop()
                    raise RunnerDiedError(_how(process.returncode))
                if "progress" not in message:
                    self._send(process, "")
                    return message
                progress(str(message["stage"]), float(message["progress"]))
            if time.monotonic() - look < _LOOK_S:
                continue
            look = time.monotonic()
            self._check(process, deadline)
            if not wanted():
                self.stop()
                raise StoppedError

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # nothing happens where it has ended
            process.wait()
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()

    def _check(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        if time.monotonic() > deadline:
            self.stop()
            raise Problem(
                "time-limit",
                f"The study took longer than {self._bounds.seconds:.0f} s and was stopped.",
                "Choose the mode fast, or have METSEG_JOB_SECONDS raised.",
            )
        if (used := resident_bytes(process.pid)) > self._bounds.memory_bytes:
            self.stop()
            raise Problem(
                "memory-limit",
                f"The study took more than {self._bounds.memory_bytes / 2**20:.0f} MiB of memory and was stopped "
                f"(at {used / 2**20:.0f} MiB).",
                "Choose the mode fast, or have METSEG_JOB_MEMORY_BYTES raised.",
            )

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._messages = queue.Queue()
        command = [sys.executable, "-m", "metseg.service.runner"]
        # A session of its own: an interrupt at the terminal is for the worker, not a crash of the job.
        self._process = subprocess.Popen(  # noqa: S603  # ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        Thread(target=_listen, args=(self._process, self._messages), daemon=True).start()
        try:
            ready = self._messages.get(timeout=_START_S)
        except queue.Empty:
            ready = None
        if ready is None:
            process = self._process
            self.stop()
            raise RunnerDiedError(_how(process.returncode))
        return self._process

    def _send(self, process: subprocess.Popen[bytes], line: str) -> None:
        assert process.stdin is not None  # noqa: S101  # a pipe was asked for
        with suppress(BrokenPipeError):  # its death is told by the other pipe
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()


class Runners:
    """As many runners as studies may run at the same time.

    Args:
        count: of runners.
        bounds: of every job.
    """

    def __init__(self, count: int, bounds: Bounds) -> None:
        self._free = [Runner(bounds) for _ in range(count)]
        self._bounds, self._lock = bounds, Lock()
        self._all = list(self._free)

    def take(self) -> Runner:
        """A runner that is free; one more where all are taken, which the queue does not let happen for long."""
        with self._lock:
            if not self._free:
                self._free.append(Runner(self._bounds))
                self._all.append(self._free[0])
            return self._free.pop()

    def give(self, runner: Runner) -> None:
        """Give one back."""
        with self._lock:
            self._free.append(runner)

    def stop(self) -> None:
        """End all."""
        for runner in self._all:
            runner.stop()


def resident_bytes(pid: int) -> int:
    """Memory of a process, what was swapped out included; 0 where the system does not say."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS:", "VmSwap:")))
    return 0


def _listen(process: subprocess.Popen[bytes], messages: "queue.Queue[dict[str, Any] | None]") -> None:
    assert process.stdout is not None  # noqa: S101  # a pipe was asked for
    with process.stdout, suppress(ValueError):
        for line in process.stdout:
            messages.put(json.loads(line))
    messages.put(None)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"it was killed by signal {-code}"
    return f"it ended with code {code}"
