"""brainmeta_prediction.sh in a copied checkout, with a Python that only pretends to install."""

import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest

TOOLS = (
    "bash", "cat", "cp", "dirname", "flock", "grep", "head", "kill", "mkdir", "mv", "readlink", "rm", "tail", "touch",
)  # fmt: skip
# Logs what is asked of it beside itself; "installs" a metseg that prints its arguments.
PYTHON = """#!/usr/bin/env bash
log() { printf '%s\\n' "$*" >>"$CHECKOUT/log"; }
case "$*" in
    *version_info*) [[ ! -e $CHECKOUT/too-old ]] ;;
    *ensurepip*) [[ ! -e $CHECKOUT/no-venv ]] ;;
    *"import metseg"*) [[ -e $CHECKOUT/.venv/bin/metseg ]] ;;
    "-m venv "*)
        log venv
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        ;;
    "-m pip --version") ;;
    "-m pip install "*)
        log "pip ${*:4}"
        [[ ! -e $CHECKOUT/offline ]] || exit 1
        printf '#!/usr/bin/env bash\\nprintf "%%s\\\\n" "$@"\\n' >"$CHECKOUT/.venv/bin/metseg"
        chmod +x "$CHECKOUT/.venv/bin/metseg"
        [[ ! -e $CHECKOUT/killed ]] || kill -9 "$(<"$CHECKOUT/killed")" "$PPID"
        ;;
esac
"""


class Checkout:
    """A copied checkout in a folder with spaces, and a PATH that holds little else than the pretended Python."""

    def __init__(self, root: Path, folder: Path):
        self.path = folder / "my metastases" / "metseg copy"
        (self.path / "scripts").mkdir(parents=True)
        for name in ("brainmeta_prediction.sh", "scripts/environment.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(root / name, self.path / name)
        self.inputs = self.path / "_inputs"
        self.inputs.mkdir()
        (self.inputs / ".gitkeep").touch()
        self.tools = folder / "tools"
        self.tools.mkdir()
        for tool in (*TOOLS, "chmod"):
            found = shutil.which(tool)
            if found is not None:
                (self.tools / tool).symlink_to(found)
        (self.tools / "python3.11").write_text(PYTHON)
        (self.tools / "python3.11").chmod(0o755)

    def run(self, *arguments: str, script: Path | None = None, cwd: Path | None = None):
        command = [str(script or self.path / "brainmeta_prediction.sh"), *arguments]
        environment = {"PATH": str(self.tools), "CHECKOUT": str(self.path)}
        return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)

    def log(self) -> list[str]:
        path = self.path / "log"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def checkout(root, tmp_path) -> Checkout:
    made = Checkout(root, tmp_path)
    (made.inputs / "patient one.nii.gz").touch()
    return made


def test_it_segments_the_inputs_into_the_results(checkout, tmp_path):
    run = checkout.run("--threads", "2", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    inputs, results = str(checkout.path / "_inputs"), str(checkout.path / "_results")
    assert run.stdout.splitlines() == ["segment", inputs, "-o", results, "--threads", "2"]


def test_a_model_of_nnunet_beside_it_is_imported_and_used(checkout):
    (checkout.path / "nnUNet_results").mkdir()
    run = checkout.run("--threads", "2")
    assert run.returncode == 0, run.stderr
    here, name = str(checkout.path), "nnunet_results"
    assert run.stdout.splitlines() == [
        "models", "import", f"{here}/nnUNet_results", "-o", f"{here}/_models", "--name", name, "--force", "--quiet",
        "segment", f"{here}/_inputs", "-o", f"{here}/_results", "--model", f"{here}/_models/{name}", "--threads", "2",
    ]  # fmt: skip


def put_zip(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 3_000_000)  # more than is looked at
    return path


MODEL = "Dataset007_Mets/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"


def source_of(run):
    """What was imported, if anything was."""
    told = run.stdout.splitlines()
    return Path(told[2]).name if told[:2] == ["models", "import"] else None


def test_a_zip_of_a_model_beside_it_is_used_and_no_other_zip(checkout):
    put_zip(checkout.path / "metseg-main.zip", "metseg-main/README.md", "tests/fold_0/checkpoint_final.pth")
    assert source_of(checkout.run()) is None
    put_zip(checkout.path / "my model.zip", MODEL)
    assert source_of(checkout.run()) == "my model.zip"
    put_zip(checkout.path / "other.zip", MODEL)
    run = checkout.run()
    assert (run.returncode, run.stdout) == (1, "")
    says = "Several zips hold a model of nnU-Net: my model.zip other.zip. Name the one to use nnUNet_results.zip."
    assert run.stderr.splitlines() == [says]
    put_zip(checkout.path / "nnUNet_results.zip", "anything")
    assert source_of(checkout.run()) == "nnUNet_results.zip"
    (checkout.path / "nnUNet_results").mkdir()
    assert source_of(checkout.run()) == "nnUNet_results"


def test_it_installs_the_base_with_the_constraints(checkout):
    checkout.run()
    (line,) = [line for line in (checkout.path / "log").read_text().splitlines() if line.startswith("pip")]
    assert "--constraint constraints.txt --editable ." in line


def test_the_second_run_installs_nothing(checkout):
    checkout.run()
    run = checkout.run()
    assert checkout.log() == ["venv", "pip"]
    assert run.stderr == ""
    assert run.stdout.startswith("segment\n")


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_dependencies_are_brought_up_to_date_in_place(checkout, name):
    checkout.run()
    with (checkout.path / name).open("a") as file:
        file.write("# changed\n")
    assert checkout.run().returncode == 0
    assert checkout.log() == ["venv", "pip", "pip"]


def test_a_failed_install_says_so_and_is_done_again(checkout):
    (checkout.path / "offline").touch()
    run = checkout.run()
    assert run.returncode == 1
    assert "could not be installed" in run.stderr
    assert run.stdout == ""
    (checkout.path / "offline").unlink()
    assert checkout.run().returncode == 0
    assert checkout.log() == ["venv", "pip", "venv", "pip"]


def test_a_killed_install_is_done_again(checkout):
    # The pretended pip kills the script that called it, and does so after all looks installed.
    launcher = checkout.path / "launch.sh"
    launcher.write_text('#!/usr/bin/env bash\necho $$ >"$CHECKOUT/killed"\nexec "$CHECKOUT/brainmeta_prediction.sh"\n')
    launcher.chmod(0o755)
    assert checkout.run(script=launcher).returncode == -signal.SIGKILL
    (checkout.path / "killed").unlink()
    assert (checkout.path / ".venv/bin/metseg").exists()
    assert checkout.run().returncode == 0
    assert checkout.log() == ["venv", "pip", "venv", "pip"]


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
def test_it_waits_for_another_run_that_installs(checkout):
    lock = checkout.path / ".venv.lock"
    with subprocess.Popen(["flock", str(lock), "sh", "-c", "echo locked; sleep 1"], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        run = checkout.run()
    assert run.returncode == 0
    assert run.stderr.startswith("Waiting for another run")
    assert checkout.log() == ["venv", "pip"]


def test_a_copied_checkout_makes_its_own_environment(checkout):
    checkout.run()
    moved = checkout.path.with_name("moved")
    shutil.copytree(checkout.path, moved)
    checkout.path = moved
    assert checkout.run().stdout.splitlines()[1] == str(moved / "_inputs")
    assert checkout.log() == ["venv", "pip", "venv", "pip"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_it_runs_through_a_symbolic_link(checkout, tmp_path, kind):
    link = tmp_path / "a link"
    link.symlink_to(checkout.path if kind == "folder" else checkout.path / "brainmeta_prediction.sh")
    run = checkout.run(script=link / "brainmeta_prediction.sh" if kind == "folder" else link)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[1] == str(checkout.path / "_inputs")


def test_without_inputs_it_shows_a_made_up_case(checkout):
    (checkout.inputs / "patient one.nii.gz").unlink()
    (checkout.inputs / ".DS_Store").touch()
    run = checkout.run()
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["demo", "-o", str(checkout.path / "_results")]
    assert "There is nothing in" in run.stderr


def test_without_a_new_enough_python_it_says_so(checkout):
    (checkout.path / "too-old").touch()
    run = checkout.run()
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("metseg needs Python 3.11 or newer")
    assert checkout.log() == []


def test_without_the_venv_module_it_says_what_to_install(checkout):
    (checkout.path / "no-venv").touch()
    run = checkout.run()
    assert run.returncode == 1
    assert "apt install python3-venv" in run.stderr.splitlines()[-1]
    assert checkout.log() == []
