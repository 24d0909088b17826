"""Where torch runs: devices by name, memory that ran out, and settings that hold while an engine predicts."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Final

import torch

from metseg.core.errors import ConfigError
from metseg.engines.memory import OutOfMemoryError

# What torch says where it has no error of its own for it: on MPS, in cuDNN and cuBLAS, in CUDA itself, on the CPU.
_NO_MEMORY: Final = ("out of memory", "alloc_failed", "can't allocate memory", "not enough memory")

_ONE_AT_A_TIME: Final = RLock()


def find_device(name: str) -> torch.device:
    """A device by its name in any case: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises:
        ConfigError: there is no such device.
    """
    known = ["cpu"]
    if torch.cuda.is_available():
        known += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        known.append("mps")
    if name.lower() not in known:
        raise ConfigError(f"torch finds no device {name!r} here.", hint=f"Use one of {', '.join(known)}.")
    return torch.device(name.lower())


def is_out_of_memory(error: Exception) -> bool:
    """Whether that is what an error says."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        part in str(error).lower() for part in _NO_MEMORY
    )


def no_room(device: torch.device, what: str) -> OutOfMemoryError:
    """The error to raise when nothing smaller is left to try; ``what`` did not fit."""
    elsewhere = "Use a machine" if device.type == "cpu" else "Use --device cpu, or a device"
    return OutOfMemoryError(f"{what} does not fit into the memory of {device}.", hint=f"{elsewhere} with more memory.")


def free_unused(device: torch.device) -> None:
    """Give back what torch keeps for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@contextmanager
def predicting(threads: int | None) -> Iterator[None]:
    """No gradients, the same result each time, full single precision where no other is asked for, so many threads.

    cuDNN may otherwise choose sums whose order hangs on the moment, and round what it multiplies to 11 bits. All is as
    it was afterwards. These settings are the whole process's, so one thread predicts at a time.
    """
    with _ONE_AT_A_TIME:
        before = torch.get_num_threads()
        torch.set_num_threads(before if threads is None else threads)
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        try:
            with torch.inference_mode(), exact:
                yield
        finally:
            torch.set_num_threads(before)
