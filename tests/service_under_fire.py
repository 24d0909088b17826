"""A service of real processes that can be killed while clients send studies; for a test and bench/service_load.py."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from metseg.service.client import Client, ServiceError

METSEG = "from metseg.cli.main import app; app()"
ROLES = {"API": "metseg.service.api.server", "worker": "metseg.service.worker", "runner": "metseg.service.runner"}
OPTIONS = {"formats": "nifti,json,csv"}
ENDS = ("succeeded", "failed", "cancelled")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def different(head: bytes, number: int) -> bytes:
    """A head that differs from ``head`` in its last voxel, in air."""
    plain = bytearray(gzip.decompress(head))
    plain[-2:] = number.to_bytes(2, "little")
    return gzip.compress(bytes(plain), compresslevel=1, mtime=0)


class Served:
    """``metseg serve`` in processes of its own.

    Args:
        environment: METSEG_… and others.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**os.environ, **environment, "METSEG_PORT": str(self.port), "METSEG_WORKER_ID": "fire"}
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", METSEG, "serve"], env=self._environment, stderr=subprocess.DEVNULL
        )

    def wait_ready(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        with Client(self.url) as client:
            while True:
                try:
                    client._json("GET", "/readyz")
                except ServiceError:
                    assert time.monotonic() < deadline, "the service does not get ready"
                    time.sleep(0.2)
                else:
                    return

    def pids(self, role: str) -> list[int]:
        """Processes of a role that descend from this service."""
        return [pid for pid, command in _commands(self._process.pid).items() if ROLES[role] in command]

    def kill(self, role: str, seconds: float = 60) -> bool:
        """Kill a process of a role with -9, waiting for one to be there."""
        if role == "supervisor":
            children = [pid for name in ROLES for pid in self.pids(name)]
            self._process.kill()
            self._process.wait()
            until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), seconds)
            self.start()
            return True
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for pid in self.pids(role):
                os.kill(pid, signal.SIGKILL)
                return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)


@dataclass
class Fire:
    """What clients have seen: job by key, and seconds of each request."""

    jobs: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    broken: Counter = field(default_factory=Counter)

    def timed(self, what, call):
        started = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds.setdefault(what, []).append(time.perf_counter() - started)


def send_all(served: Served, studies: list[bytes], at_once: int, fire: Fire) -> list[threading.Thread]:
    """Send each study once, however often that takes; returns the threads that do."""
    waiting = list(enumerate(studies))
    lock = threading.Lock()

    def work():
        with Client(served.url, timeout_s=60) as client:
            while True:
                with lock:
                    if not waiting:
                        return
                    number, content = waiting.pop(0)
                _send(client, number, content, fire)

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    return threads


def _send(client: Client, number: int, content: bytes, fire: Fire) -> None:
    key = str(uuid.uuid4())
    while True:
        try:
            job = fire.timed(
                "POST /v1/studies",
                lambda: client.submit([(f"head-{number}.nii.gz", content)], options=OPTIONS, idempotency_key=key),
            )
        except ServiceError as error:
            fire.broken[error.code] += 1
            if error.code not in {"unreachable", "not-ready", "queue-full", "rate-limited", "internal-error"}:
                fire.refused.append(error.code)
                return
            time.sleep(error.retry_after_s or 0.3)
        else:
            fire.jobs[str(number)] = job["id"]
            return


def all_jobs(client: Client) -> list[dict]:
    """Every job, page by page."""
    found, page = [], client.jobs(limit=20)
    found += page["studies"]
    while page["next"]:
        page = client.jobs(page=page["next"])
        found += page["studies"]
    return found


def watch_until_ended(served: Served, count: int, fire: Fire, seconds: float) -> list[dict]:
    """Look at all jobs until ``count`` are there and have ended."""
    deadline = time.monotonic() + seconds
    with Client(served.url) as client:
        while True:
            try:
                jobs = fire.timed("GET /v1/studies", lambda: all_jobs(client))
            except ServiceError as error:
                fire.broken[error.code] += 1
                jobs = []
            if len(jobs) >= count and all(job["state"] in ENDS for job in jobs):
                return jobs
            assert time.monotonic() < deadline, Counter(job["state"] for job in jobs)
            time.sleep(0.5)


def ends_of(client: Client, job_id: str) -> list[str]:
    """The states in a job's events that end it: there must be exactly one."""
    states = [event.data["state"] for event in client.events(job_id) if event.kind == "state"]
    return [state for state in states if state in ENDS]


def until(ready, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _commands(top: int) -> dict[int, str]:
    """Commands of the processes below ``top``."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
            commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue

    def below(pid: int) -> bool:
        while pid in parents and pid != top:
            pid = parents[pid]
        return pid == top

    return {pid: command for pid, command in commands.items() if pid != top and below(pid)}
