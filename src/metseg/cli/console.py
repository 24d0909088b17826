"""What people see: errors on stderr, a progress bar, the table at the end."""

import json
import logging
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import typer

from metseg.core.errors import MetsegError, exit_code
from metseg.core.progress import Progress, no_progress

if TYPE_CHECKING:
    from metseg.pipeline.outcome import CaseOutcome

INTERRUPTED: Final = 130
TERMINATED: Final = 143
_NO_TERMINAL_WIDTH: Final = 160


@contextmanager
def reported(*, as_json: bool = False, debug: bool = False) -> Iterator[None]:
    """Turn errors into a message, a hint and an exit code; a traceback shows with ``debug`` only."""
    if debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("matplotlib").setLevel(logging.WARNING)
        logging.getLogger("PIL").setLevel(logging.WARNING)
    # Being asked to stop cleans up like any error does: nothing half-written stays.
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    except MetsegError as error:
        say_error(error.message, error.hint, details=traceback.format_exc() if debug else "")
        if as_json:
            failure = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
            print_json({"error": failure, "exit_code": exit_code(error)})
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt as error:
        say_error("Interrupted; what was finished is kept, nothing is half-written.")
        raise typer.Exit(INTERRUPTED) from error
    finally:
        signal.signal(signal.SIGTERM, previous)


def say_error(message: str, hint: str = "", *, details: str = "") -> None:
    """A message and its hint on stderr, after the traceback if there is one."""
    if details:
        typer.echo(details.rstrip(), err=True)
    typer.echo(f"Error: {message}", err=True)
    if hint:
        typer.echo(f"  Hint: {hint}", err=True)


def print_json(content: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[Progress]:
    """A bar on stderr for as long as the block runs; none where stderr is no terminal."""
    if not shown or not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn())
    text = TextColumn("{task.description}", markup=False)
    with Bar(*columns, text, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def report(done: float, total: float, what: str) -> None:
            bar.update(task, completed=done / total if total else 1.0, description=what)

        yield report


def print_summary(outcomes: "Sequence[CaseOutcome]") -> None:
    """The table of all cases on stdout, then each case's warnings, a line each."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console() if sys.stdout.isatty() else Console(width=_NO_TERMINAL_WIDTH, color_system=None)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (("case", "left"), ("state", "left"), ("lesions", "right"), ("volume", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("report, or why not", overflow="fold")
    for outcome in outcomes:
        table.add_row(*(Text(cell) for cell in _cells(outcome)))
    console.print(table)
    for outcome in outcomes:
        for warning in outcome.warnings:
            typer.echo(f"Warning: {outcome.case}: {warning}")


def _cells(outcome: "CaseOutcome") -> tuple[str, ...]:
    lesions = "–" if outcome.lesions is None else str(outcome.lesions)
    volume = "–" if outcome.volume_mm3 is None else f"{outcome.volume_mm3 / 1000:.2f} mL"
    last = outcome.message or str(outcome.report or outcome.folder or "")
    return outcome.case, outcome.state, lesions, volume, f"{outcome.seconds:.1f}", last
