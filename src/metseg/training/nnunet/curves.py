"""The course of a training as a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metseg.core.errors import MetsegError
from metseg.io.atomic import write_bytes
from metseg.report.plotting import FAINT, MAIN, SECOND, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG: Final = "log.csv"
CURVES: Final = "curves.png"


def read_log(folder: Path) -> dict[str, list[float]]:
    """The columns of the log of a network; cells without a number are NaN.

    Args:
        folder: of the network's checkpoints.

    Raises:
        MetsegError: the log is missing or broken.
    """
    try:
        with (folder / LOG).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {name: [float(row[name] or "nan") for row in rows] for name in (rows[0] if rows else {})}
    except (OSError, ValueError, TypeError) as error:
        raise MetsegError(f"The log of the training, {LOG}, cannot be read.") from error


def write_curves(folder: Path, title: str) -> Path:
    """Draw loss, pseudo Dice and sensitivity by epoch, beside the log.

    Raises:
        MetsegError: the log cannot be read, or the picture not be written.
    """
    log = read_log(folder)

    def paint(panels: "Sequence[Axes]") -> None:
        loss, dice, lesions = panels
        loss.plot(log["epoch"], log["train_loss"], color=MAIN, label="training")
        loss.plot(log["epoch"], log["val_loss"], color=SECOND, linestyle="--", label="validation")
        loss.set_ylabel("loss")
        dice.plot(log["epoch"], log["pseudo_dice"], color=FAINT, linestyle=":", label="an epoch's patches")
        dice.plot(log["epoch"], log["pseudo_dice_mean"], color=MAIN, label="moving mean")
        dice.set_ylabel("pseudo Dice")
        lesions.plot(log["epoch"], log["lesion_sensitivity"], color=MAIN, label="an epoch's patches")
        lesions.set_ylabel("share of lesions found")
        dice.set_ylim(0, 1)
        lesions.set_ylim(0, 1.02)  # all found is a line to be seen
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.legend(frameon=False)

    drawn = draw(paint, title, "Loss, pseudo Dice and sensitivity for lesions, by epoch.", panels=3, columns=3)
    write_bytes(folder / CURVES, drawn.png)
    return folder / CURVES
