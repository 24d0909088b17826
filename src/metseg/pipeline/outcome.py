"""What became of one case."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one case.

    Args:
        case: its name.
        state: ``"done"``, ``"skipped"`` (a finished result was there) or ``"failed"``.
        seconds: spent on it, without waiting for other cases.
        folder: of the result; None if it failed.
        model: name and version of what made it; None if it failed.
        report: what to open first: the report, or else the preview; None where there is neither.
        lesions: number of lesions; None if it failed.
        volume_mm3: of all lesions; None if it failed.
        warnings: a sentence each.
        message: why it failed, in one sentence.
        hint: what to do about it.
        exit_code: 0 unless it failed.
        details: the traceback, for ``--debug``.
    """

    case: str
    state: State
    seconds: float
    folder: Path | None = None
    model: str | None = None
    report: Path | None = None
    lesions: int | None = None
    volume_mm3: float | None = None
    warnings: tuple[str, ...] = ()
    message: str = ""
    hint: str = ""
    exit_code: int = 0
    details: str = ""

    def as_plain(self) -> dict[str, Any]:
        """As plain data for JSON: without the traceback, paths as text."""
        return {
            "case": self.case,
            "state": self.state,
            "seconds": round(self.seconds, 2),
            "folder": None if self.folder is None else str(self.folder),
            "model": self.model,
            "report": None if self.report is None else str(self.report),
            "lesions": self.lesions,
            "volume_mm3": self.volume_mm3,
            "warnings": list(self.warnings),
            "message": self.message,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }
