"""Engines that misbehave, found by metseg as any plug-in is: ``install`` makes a distribution of this very file.

What they do, and how often, stands in a folder that the environment names: they run in processes of their own.
"""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np

from metseg.engines.threshold_engine import ThresholdEngine

ENGINES = ("crashing", "crashing_once", "hungry", "sleepy")
NOTES = "AWKWARD_NOTES"


def install(folder: Path) -> dict[str, str]:
    """Make the distribution in ``folder``; returns the environment that processes need to find it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(__file__, folder / "awkward_engines.py")
    info = folder / "awkward_engines-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: awkward-engines\nVersion: 1\n")
    entries = "".join(f"{name} = awkward_engines:load_{name}\n" for name in ENGINES)
    (info / "entry_points.txt").write_text(f"[metseg.engines]\n{entries}")
    paths = [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), NOTES: str(folder)}


def note(name):
    """Is this the first time? Whoever comes later finds the note."""
    path = Path(os.environ[NOTES], name)
    first = not path.exists()
    path.touch()
    return first


class Crashing(ThresholdEngine):
    """Takes its process with it."""

    def predict(self, *_, **__):
        os.kill(os.getpid(), signal.SIGKILL)


class CrashingOnce(ThresholdEngine):
    """Takes its process with it the first time."""

    def predict(self, study, *, progress=lambda *_: None):
        if note("crashed"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().predict(study, progress=progress)


class Hungry(ThresholdEngine):
    """Wants ever more memory."""

    def predict(self, study, *, progress=lambda *_: None):
        held = []
        for _ in range(2000):
            held.append(np.ones(2**21))
            time.sleep(0.02)
        return super().predict(study, progress=progress)


class Sleepy(ThresholdEngine):
    """Sleeps until a file called ``awake`` is there, then does its work."""

    def predict(self, study, *, progress=lambda *_: None):
        note("asleep")
        while not Path(os.environ[NOTES], "awake").exists():
            progress(0, 1, "sleeping")
            time.sleep(0.05)
        return super().predict(study, progress=progress)


def load_crashing(model, **more):
    """The first."""
    return Crashing()


def load_crashing_once(model, **more):
    """The second."""
    return CrashingOnce()


def load_hungry(model, **more):
    """The third."""
    return Hungry()


def load_sleepy(model, **more):
    """The fourth."""
    return Sleepy()
