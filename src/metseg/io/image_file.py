"""One image as it came out of a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from metseg.core.volume import Volume

# A note that begins like this is a doubt about the result itself: the pipeline makes it a warning.
WARNING: Final = "WARNING: "
# Such a note that says this, in whatever case, means that no side can be told from the file.
SIDES: Final = "left and right"


@dataclass(frozen=True, eq=False)
class ImageFile:
    """What every reader of this room returns.

    Args:
        volume: float32 (i, j, k), C order, and where it lies.
        headers: technical facts; never identity.
        notes: what was repaired, chosen or doubted, a sentence each; those that begin with ``WARNING`` are warnings.
        sha256: over the bytes of the file (of header and data file, in this order, where there are two).
        format: as in ``Source.format``.
        described: the sequences that its header's description leaves possible; empty: it says nothing.
        slice_names: as in ``Source.slice_names``.
    """

    volume: Volume
    headers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sha256: str = ""
    format: str = "nifti"
    described: frozenset[str] = frozenset()
    slice_names: tuple[str, ...] = ()
