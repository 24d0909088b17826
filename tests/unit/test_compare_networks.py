"""The comparison of networks in recipes/compare: what it would train, and that its recipes are right."""

import importlib.util
import sys
import tomllib

import pytest

from metseg.training.nnunet.recipe import NnunetRecipe
from metseg.training.recipe_file import read_recipe_file


@pytest.fixture(scope="module")
def script(root):
    path = root / "recipes" / "compare" / "run.py"
    spec = importlib.util.spec_from_file_location("compare_networks", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    yield spec.loader.exec_module(module) or module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def told(script):
    return tomllib.loads((script.HERE / "networks.toml").read_text(encoding="utf-8"))


def test_each_network_is_trained_in_2d_and_3d_with_and_without_clahe(script, told, tmp_path):
    known = {it.name: it.recipe for it in script.variants(told, tmp_path, {"minutes": 7.5})}
    networks = ("nnunet", "unet-plus-plus", "attention-unet")
    assert sorted(known) == sorted(f"{n}-{d}{c}" for n in networks for d in ("2d", "3d") for c in ("", "-clahe"))
    assert {step.kind for step in known["attention-unet-2d-clahe"].preprocessing} == {"2d"}
    assert [step.name for step in known["nnunet-3d-clahe"].preprocessing] == ["clahe"]
    assert known["nnunet-3d"].preprocessing == ()
    assert known["unet-plus-plus-3d"].network == "unet++"
    same = [it.model_dump(exclude={"name", "out", "network", "configuration", "patch", "batch", "preprocessing"})
            for it in known.values()]  # fmt: skip
    assert all(one == same[0] for one in same)
    assert same[0]["minutes"] == 7.5


def test_the_recipes_that_it_writes_are_those_that_it_means(script, told, tmp_path):
    for it in script.variants(told, tmp_path, {"epochs": 3}):
        (tmp_path / f"{it.name}.toml").write_text(script.toml_text(it.recipe))
        assert read_recipe_file(tmp_path / f"{it.name}.toml", NnunetRecipe) == it.recipe
