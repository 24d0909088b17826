"""The house tests look at the project's own files."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def project_files(root) -> list[Path]:
    """Every file that is in the repository or about to enter it."""
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("needs a git checkout, to know which files are the project's")
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    return sorted(root / name for name in listed if name and (root / name).is_file())
