"""Who may import whom: the contracts in pyproject.toml, and what an import drags in."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "monai", "nnunetv2", "onnx", "pytest", "hypothesis")


def test_the_import_contracts_are_kept(root):
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("module", ["metseg", "metseg.cli.main", "metseg.pipeline.segment", "metseg.engines.registry"])
def test_the_light_side_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()).isdisjoint(HEAVY)
