"""``metseg train`` from outside: what it says of wrong recipes and of what is missing, and what its help loads."""

import json
import subprocess
import sys

from typer.testing import CliRunner

from metseg.cli.main import app
from metseg.training.nnunet import process
from metseg.training.nnunet.recipe import NnunetRecipe
from metseg.training.recipe_file import read_recipe_file
from nnunet_raw import make_raw


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_wrong_recipe_is_refused_with_all_that_is_wrong(tmp_path):
    (tmp_path / "r.toml").write_text('data = "d"\nout = "o"\nepoch = 3\nnetwork = "vnet"\n')
    result = metseg("train", tmp_path / "r.toml", "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["kind"] == "ConfigError"
    assert "epoch" in error["message"]
    assert "network" in error["message"]


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "find_spec", lambda _name: None)
    make_raw(tmp_path / "Dataset007_Mets", count=2, shape=(9, 8, 7))
    (tmp_path / "r.toml").write_text(f'data = "{tmp_path / "Dataset007_Mets"}"\nout = "{tmp_path / "out"}"\n')
    result = metseg("train", tmp_path / "r.toml")
    assert result.exit_code == 3
    assert "pip install 'metseg[train]'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_its_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom metseg.cli.main import app\n"
        "try:\n    app(['train', '--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "found = sorted({'numpy', 'nibabel', 'openvino', 'torch', 'matplotlib'} & set(sys.modules))\n"
        "sys.exit(f'loaded {found}' if found else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "RECIPE" in run.stdout


def test_the_recipes_that_are_given_as_examples_are_right(root):
    paths = sorted((root / "recipes" / "nnunet").glob("*.toml"))
    assert len(paths) >= 2
    for path in paths:
        assert read_recipe_file(path, NnunetRecipe).epochs >= 1
