"""What is in the repository, and what is not."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Written in pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = [
    rf"(?<![\w.]){root}{name}"
    for root, name in (("/", "work/"), ("/", "root/"), ("/ho", r"me/(?!someone\b)\w"))  # "someone" is nobody
]
MACHINE_PATHS += [rf"/{name}/\w" for name in ("Users", "mnt", "media", "scratch")]
REGISTRY_HOSTS = [
    rf"\b{name}\.{end}\b"
    for name, end in (
        (r"pypi(\.python)?", "org"),
        ("pythonhosted", "org"),
        (r"registry\.npmjs", "org"),
        (r"download\.pytorch", "org"),
        (r"(deb|security)\.debian", "org"),
        (r"pypi\.nvidia", "com"),
        (r"conda\.anaconda", "org"),
    )
]
FOREIGN = re.compile("|".join(MACHINE_PATHS + REGISTRY_HOSTS))


def text_of(path) -> str:
    content = path.read_bytes()
    return "" if b"\0" in content[:8192] else content.decode("utf-8", errors="replace")


def test_no_file_names_a_machines_path_or_a_registrys_host(project_files, root):
    found = [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in project_files
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if FOREIGN.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["at /wo" + "rk/main", "in /ho" + "me/jane", "https://pypi" + ".org/simple"])
def test_the_search_finds_what_it_looks_for(text):
    assert FOREIGN.search(text)


def test_no_patients_file_is_in_the_repository(project_files, root):
    folders = {path.relative_to(root).parts[0] for path in project_files}
    assert "_results" not in folders
    assert [path.name for path in project_files if path.parent == root / "_inputs"] == [".gitkeep"]


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins(root):
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_every_dependency_is_pinned_within_its_bounds(project, pins):
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (Requirement(line) for group in groups for line in group):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pin), f"{requirement} is pinned to {pin}"


def test_pins_name_no_cuda_package_and_no_local_build(pins):
    assert [name for name in pins if re.search("nvidia|cuda|triton", name)] == []
    assert [version for version in pins.values() if "+" in version] == []


def test_the_base_install_is_light(project):
    names = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    # torch is heavy, pylibjpeg-libjpeg is GPL.
    assert names.isdisjoint({"torch", "monai", "nnunetv2", "onnx", "pylibjpeg-libjpeg"})
