"""How figures are drawn: one look, no display, and the same bytes each time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette on white; colour never stands alone.
MAIN: Final = "#0072b2"
SECOND: Final = "#d55e00"
ACCENT: Final = "#d55e00"
INK: Final = "#16191d"
FAINT: Final = "#59626e"
PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_PANEL_INCHES: Final = (4.6, 3.4)
_DPI: Final = 150
_STYLE: Final[Any] = {  # newer versions of matplotlib want each key as a literal
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "metseg",
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Drawn:
    """A figure as files.

    Args:
        png: the picture.
        svg: the same as lines.
        width: of the picture, in pixels.
        height: likewise.
        title: of the figure.
        alt: what it shows, in words.
    """

    png: bytes
    svg: bytes
    width: int
    height: int
    title: str
    alt: str


def draw(
    paint: "Callable[[Sequence[Axes]], None]",
    title: str,
    alt: str,
    panels: int = 1,
    panel_inches: tuple[float, float] = _PANEL_INCHES,
    columns: int = 2,
) -> Drawn:
    """Draw a figure.

    Args:
        paint: draws into as many pairs of axes as there are panels.
        title: above all of them.
        alt: what the figure shows, in words.
        panels: how many.
        panel_inches: width and height of each.
        columns: most panels side by side.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(panels, columns)
    down = -(-panels // across)
    with rc_context(_STYLE):
        figure = Figure(figsize=(across * panel_inches[0], down * panel_inches[1]), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(down, across, squeeze=False).flat)
        for spare in axes[panels:]:
            spare.set_axis_off()
        paint(axes[:panels])
        figure.suptitle(title, fontsize=10, x=0.01, ha="left", fontweight="bold")
        png = _saved(figure, "png", metadata={"Software": None})
        svg = _saved(figure, "svg", metadata={"Date": None, "Creator": None})
    width, height = (round(side * _DPI) for side in figure.get_size_inches())
    return Drawn(png, svg, width, height, title, alt)


def _saved(figure: "Figure", kind: str, metadata: dict[str, None]) -> bytes:
    file = BytesIO()
    figure.savefig(file, format=kind, dpi=_DPI, metadata=metadata)
    return file.getvalue()
