"""What every DICOM result says of itself: who made it, and that it is for research."""

from typing import Final

from metseg import __version__

MAKER: Final = "metseg"
VERSION: Final = __version__
NOT_DIAGNOSTIC: Final = "Research, not for primary diagnosis"
LABEL: Final = "RESEARCH"
# Series numbers far from those of scanners.
SERIES_NUMBERS: Final = {"derived": 9100, "seg": 9101, "sr": 9102, "rtstruct": 9103, "montage": 9104, "pdf": 9105}


def series_description(what: str) -> str:
    """At most 64 characters (LO): what it is, and what it is not for."""
    return f"{MAKER} {what} - {NOT_DIAGNOSTIC}"
