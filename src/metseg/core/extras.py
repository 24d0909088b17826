"""Optional dependencies: what is there, and what to install for what is not."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from metseg.core.errors import MissingExtraError

# The module whose presence shows that an extra is installed.
_PROBES: Final = {
    "torch": "torch",
    "train": "torch",
    "pdf": "weasyprint",
    "node": "pynetdicom",
    "service": "fastapi",
    "app": "streamlit",
    "scale": "ray",
    "dev": "pytest",
}


def installed_extras() -> dict[str, bool]:
    """Which of the extras that the package declares are installed."""
    try:
        # Build tools disagree on the quotes around the name.
        declared = " ".join(requires("metseg") or []).replace("'", '"')
    except PackageNotFoundError:
        declared = ""
    return {name: find_spec(probe) is not None for name, probe in _PROBES.items() if f'extra == "{name}"' in declared}


def installed_version(distribution: str) -> str | None:
    """Version of a distribution, or None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Raises:
        MissingExtraError: it is not installed; the hint gives the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"This needs {module}, which is not installed.", hint=f"Install it with: pip install 'metseg[{extra}]'"
        ) from error
