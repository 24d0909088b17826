"""The resident process that segments: one job after the other, models kept. Run as ``python -m metseg.service.runner``.

Jobs come as lines of JSON on standard input; what becomes of them goes out as lines of JSON where standard output was.
It ends with its standard input, and so with the worker, however that ends.
"""

import json
import logging
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any, Final

from metseg.config.options import SegmentOptions
from metseg.core.progress import Progress
from metseg.core.study import Study
from metseg.io.nifti import write_nifti
from metseg.io.nifti_header import NiftiCodes
from metseg.pipeline.case import ReadCase, Task, predict_case, read_case, write_case
from metseg.pipeline.models import Models
from metseg.pipeline.outcome import CaseOutcome
from metseg.service.intake import find_case
from metseg.service.problems import problem_of

_LOG: Final = logging.getLogger(__name__)
_KEPT: Final = 2  # sets of models in memory
_KEY: Final = ("engine", "model", "mode", "device", "threads")
Say = Callable[[Mapping[str, Any]], None]


class KeptModels:
    """Loaded models, the two sets last used."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Models] = OrderedDict()

    def of(self, options: SegmentOptions) -> Models:
        """The models for these options."""
        key = tuple(getattr(options, name) for name in _KEY)
        if key not in self._kept:
            self._kept[key] = Models(SegmentOptions(**dict(zip(_KEY, key))))
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


def run_job(job: Mapping[str, Any], kept: KeptModels, progress: Progress) -> dict[str, Any]:
    """Segment one study and write its result and its images; what was finished before is found.

    Args:
        job: ``input``, ``sequences``, ``results``, ``volumes``, ``options``.
        kept: models of earlier jobs.
        progress: 0 … 1.

    Returns:
        ``{"summary": …}`` or ``{"problem": …}``.
    """
    try:
        outcome = _segment(job, kept, progress)
    except Exception as error:  # noqa: BLE001  # the next job must run whatever this one met
        problem = problem_of(error)
        if problem.code == "internal-error":
            _LOG.exception("a job met something unexpected")
        return {"problem": problem.document()}
    return {
        "summary": {
            "model": outcome.model,
            "lesions": outcome.lesions,
            "volume_mm3": outcome.volume_mm3,
            "warnings": list(outcome.warnings),
        }
    }


def _segment(job: Mapping[str, Any], kept: KeptModels, progress: Progress) -> CaseOutcome:
    options = SegmentOptions.model_validate(job["options"])
    case = find_case(Path(job["input"]), job["sequences"])
    read = read_case(Task(case, Path(job["results"]), kept.of(options).of, options, progress=progress))
    if not isinstance(read, ReadCase):
        return read
    write_volumes(read.prepared.checked.study, Path(job["volumes"]))
    return write_case(predict_case(read))


def write_volumes(study: Study, folder: Path) -> None:
    """Write the images of a study as ``image-SEQUENCE.nii.gz``, for viewers; each appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    codes = NiftiCodes.from_headers(study.source.headers)
    for sequence, volume in study.images.items():
        write_nifti(folder / f"image-{sequence}.nii.gz", volume, codes)


def main() -> None:
    """Take jobs until standard input ends."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s runner: %(message)s")
    say = _speaker()
    lines = sys.stdin.buffer
    kept = KeptModels()
    say({"ready": os.getpid()})
    while True:
        first = lines.readline()
        if not first:
            return
        waiter = Thread(target=_end_with, args=(lines,), daemon=True)
        waiter.start()
        say(run_job(json.loads(first), kept, lambda done, total, what: say({"progress": done / total, "stage": what})))
        waiter.join()


def _end_with(lines: Any) -> None:
    """While a job runs, the worker says nothing but an empty line after its end; the end of all means it is gone."""
    if not lines.readline():
        os._exit(0)


def _speaker() -> Say:
    """Writes messages to what standard output was; that name goes to the log, whatever a library prints."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    return say


if __name__ == "__main__":
    main()
