"""Memory that ran out: the one error for it, whatever runs the network."""

from typing import Final

from metseg.core.errors import InferenceError

MORE_MEMORY: Final = "Use fewer threads (--threads), close other programs, or use a machine with more memory."


class OutOfMemoryError(InferenceError):
    """One pass of a network was too large for the memory; a smaller one may fit."""


def sized(shape: tuple[int, ...]) -> str:
    """A size in voxels, for messages: ``"256×256×128"``."""
    return "×".join(map(str, shape))
