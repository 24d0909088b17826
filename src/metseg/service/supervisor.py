"""Keeps processes running: starts them, and starts them again when they end. They end with it, however it ends."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from threading import Event, Thread
from typing import Final

from metseg.service.settings import Settings, child_environment

_LOG: Final = logging.getLogger(__name__)
_LOOK_S: Final = 0.2
_SHORT_S: Final = 10.0
_LONGEST_WAIT_S: Final = 30.0
_GRACE_S: Final = 10.0


def worker_command() -> list[str]:
    """The command of a worker that ends with its parent."""
    return [sys.executable, "-m", "metseg.service.worker", "--with-parent"]


def api_command() -> list[str]:
    """The command of an API that ends with its parent."""
    return [sys.executable, "-m", "metseg.service.api.server", "--with-parent"]


class Supervisor:
    """Some processes, each in a thread that looks after it.

    Args:
        settings: of the service; handed on in the environment.
        commands: by name.
    """

    def __init__(self, settings: Settings, commands: Mapping[str, Sequence[str]]) -> None:
        self._environment = child_environment(settings, start_worker=False)
        self._stopped = Event()
        self._threads = [
            Thread(target=self._keep, args=(name, list(command)), daemon=True) for name, command in commands.items()
        ]

    def start(self) -> None:
        """Start all."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all; those that do not end when asked are killed."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def run(self) -> None:
        """Keep all running until this process is asked to end."""
        asked = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: asked.set())
        self.start()
        asked.wait()
        self.stop()

    def _keep(self, name: str, command: Sequence[str]) -> None:
        pause = 0.1
        while not self._stopped.is_set():
            started = time.monotonic()
            # Its standard input ends with this process; the terminal's interrupts are for this process alone.
            process = subprocess.Popen(  # noqa: S603  # our own command
                command, stdin=subprocess.PIPE, env=self._environment, start_new_session=True
            )
            while process.poll() is None and not self._stopped.wait(_LOOK_S):
                pass
            if self._stopped.is_set():
                _end(process)
                return
            pause = 0.1 if time.monotonic() - started > _SHORT_S else min(2 * pause, _LONGEST_WAIT_S)
            _LOG.warning("the %s ended with code %s; it is started again", name, process.returncode)
            self._stopped.wait(pause)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
