"""Writes constraints.txt: the exact version of all that the project needs, as installed beside this Python.

Run it in a fresh test environment after changing the dependencies: ``.venv-test/bin/python scripts/constraints.py``.
What is not installed there (the train extra) keeps the version that constraints.txt has.
"""

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Exact versions for every install. Made by scripts/constraints.py; names no index and no CUDA package.\n"


def declared() -> Iterator[Requirement]:
    """Everything that pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from map(Requirement, group)


def pinned() -> dict[str, str]:
    """The versions in constraints.txt."""
    path = ROOT / "constraints.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def needs(requirement: Requirement) -> list[Requirement]:
    """What an installed distribution needs on this Python, with the extras that ``requirement`` names."""
    lines = distribution(requirement.name).requires or []
    extras = ["", *requirement.extras]
    found = (Requirement(line) for line in lines)
    return [need for need in found if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras)]


def closure() -> dict[str, str]:
    """Version of each distribution that the declared ones need."""
    versions: dict[str, str] = {}
    done: set[str] = set()
    queue = list(declared())
    while queue:
        requirement = queue.pop()
        key = f"{requirement.name}{sorted(requirement.extras)}"
        if key in done or not is_installed(requirement.name):
            continue
        done.add(key)
        versions[canonicalize_name(requirement.name)] = distribution(requirement.name).version.partition("+")[0]
        queue += needs(requirement)
    return versions


def is_installed(name: str) -> bool:
    """Is there a distribution of that name beside this Python?"""
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    kept = {name: version for name, version in pinned().items() if not is_installed(name)}
    pins = "".join(f"{name}=={version}\n" for name, version in sorted((kept | closure()).items()))
    (ROOT / "constraints.txt").write_text(HEADER + pins, encoding="utf-8")
