"""Starts the processes in which nnU-Net runs, and listens to them.

A child is told its job on stdin and tells what it does on stdout, a JSON object a line; what nnU-Net prints goes to a
file. It lives in a session of its own, so that nothing of it is left when it or its parent ends, however that happens.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import metseg
from metseg.core.errors import MetsegError, MissingExtraError
from metseg.training.nnunet.messages import ERROR, RESULT, read_line, told_error

# Nothing is imported from the working directory (-P).
CHILD: Final = (sys.executable, "-P", "-m", "metseg.training.nnunet.child")
LAST_LINES: Final = 8
_TAIL_BYTES: Final = 16384
Listener = Callable[[str, dict[str, Any]], None]


def require_nnunet() -> None:
    """Make sure that nnU-Net is installed, without importing it.

    Raises:
        MissingExtraError: it is not.
    """
    for module in ("torch", "nnunetv2"):
        if find_spec(module) is None:
            raise MissingExtraError(
                f"Training needs {module}, which is not installed.",
                hint="Install it with: pip install torch==2.13.0 && pip install 'metseg[train]'",
            )


def child_environment(run: Path, *, processes: int, augmenters: int, threads: int) -> dict[str, str]:
    """Variables of a child: the parent's, but for what nnU-Net would take from them, which is set here.

    Args:
        run: folder of the run, in which nnU-Net's three folders lie.
        processes: that prepare and write images.
        augmenters: processes that augment while a network trains; 0: none but itself.
        threads: of numerical libraries; 0: as they like.
    """
    given = os.environ  # noqa: TID251  handed on, no option is read from it
    own = {name: value for name, value in given.items() if not name.startswith("nnUNet")}
    package = str(Path(metseg.__file__).resolve().parents[1])
    paths = [package, *(str(Path(path).resolve()) for path in own.get("PYTHONPATH", "").split(os.pathsep) if path)]
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {
        **own,
        **(counts if threads else {}),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "nnUNet_raw": str(run / "nnUNet_raw"),
        "nnUNet_preprocessed": str(run / "nnUNet_preprocessed"),
        "nnUNet_results": str(run / "nnUNet_results"),
        "nnUNet_def_n_proc": str(processes),
        "nnUNet_n_proc_DA": str(augmenters),
    }


def run_child(
    job: Mapping[str, Any],
    environment: Mapping[str, str],
    log: Path,
    listener: Listener,
    *,
    doing: str,
    command: Sequence[str] = CHILD,
) -> dict[str, Any]:
    """Have a job done by a child.

    Args:
        job: plain data.
        environment: of the child.
        log: file that all that it prints is added to.
        listener: told each message, but for the last.
        doing: what the job is, for messages: ``"training 3d_fullres, fold 0"``.
        command: that starts the child.

    Returns:
        Its result.

    Raises:
        MetsegError: it ended without one; of the class that it named, if it said why.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as printed:
        child = subprocess.Popen(  # noqa: S603  our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=printed, env=dict(environment),
            start_new_session=True,
        )  # fmt: skip
    burial = threading.Thread(target=_bury, args=(child,), daemon=True)
    burial.start()
    result: dict[str, Any] | None = None
    failure: MetsegError | None = None
    try:
        _tell(child, job)
        for line in child.stdout or ():
            kind, content = read_line(line.decode("utf-8", "replace"))
            if kind == RESULT:
                result = content
            elif kind == ERROR:
                failure = told_error(content)
            else:
                listener(kind, content)
    except BaseException:
        _end(child)
        raise
    finally:
        burial.join()
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
    if failure is not None:
        raise failure
    if child.returncode != 0 or result is None:
        raise _silent(child.returncode, log, doing)
    return result


def _tell(child: "subprocess.Popen[bytes]", job: Mapping[str, Any]) -> None:
    """Say what to do; stdin stays open, for the child ends itself when it closes."""
    with suppress(BrokenPipeError):  # it ended already: why, its end tells
        child.stdin.write(json.dumps(job).encode() + b"\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]


def _bury(child: "subprocess.Popen[bytes]") -> None:
    """End what a child leaves behind: its own children hold its stdout open."""
    child.wait()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End a child that may still run, with all its own."""
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _silent(code: int, log: Path, doing: str) -> MetsegError:
    """What to say of a child that ended without saying why."""
    how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    last = last_lines(log)
    why = "Memory ran out, most likely: take fewer workers, or a smaller patch or batch. " if code == -9 else ""
    if "torchvision" in last:
        why = "torchvision was built for another torch; nnU-Net does without: pip uninstall torchvision. "
    return MetsegError(
        f"nnU-Net {how} while {doing}, without a result.",
        hint=f"{why}The same command goes on from what is finished. All that it printed is in {log.name}, "
        f"last:\n{last}",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """The last lines of a file that hold anything."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join([line.rstrip() for line in lines if line.strip()][-count:])
