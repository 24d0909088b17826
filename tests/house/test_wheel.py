"""What is shipped: all of the package, models and templates included, and nothing else."""

import subprocess
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def wheel_names(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (wheel,) = folder.glob("metseg-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package(wheel_names, project_files, root):
    source = root / "src"
    wanted = {path.relative_to(source).as_posix() for path in project_files if source in path.parents}
    assert wanted - wheel_names == set()
    assert {name for name in wheel_names - wanted if ".dist-info/" not in name} == set()


def test_the_wheel_says_that_it_is_typed_and_under_which_licence(wheel_names):
    assert "metseg/py.typed" in wheel_names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)
