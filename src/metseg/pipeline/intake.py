"""From what the user named to cases, so that a path that leads nowhere does not stop the others."""

from collections.abc import Sequence
from pathlib import Path

from metseg.core.errors import MetsegError, exit_code
from metseg.io.discover import CaseInput, find_sources
from metseg.pipeline.outcome import CaseOutcome


def find_cases(inputs: Sequence[Path], out: Path) -> tuple[list[CaseInput], list[CaseOutcome]]:
    """The cases in files, folders and zips; the output folder is not searched.

    Returns:
        The cases, and a failed outcome for each input that holds none, named as the user named it.

    Raises:
        InputError: nothing was given, or the only input holds no case.
    """
    if len(inputs) < 2:
        return find_sources(inputs, exclude=[out]), []
    good, failures = [], []
    for path in inputs:
        try:
            find_sources([path], exclude=[out])
        except MetsegError as error:
            message, hint, code = error.message, error.hint, exit_code(error)
            failures.append(CaseOutcome(path.name, "failed", 0.0, message=message, hint=hint, exit_code=code))
        else:
            good.append(path)
    return (find_sources(good, exclude=[out]) if good else []), failures
