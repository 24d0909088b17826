"""For our tests and for authors of plug-ins: phantoms of known size, and the laws that every engine obeys."""

from metseg.testing.check_engine import BrokenLawError, check_engine

__all__ = ["BrokenLawError", "check_engine"]
