"""A comparison of runs as a plot: a panel a metric, a line a pair of runs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from metseg.report.plotting import FAINT, MAIN, Drawn, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_PANELS: Final = 8
_ALT: Final = (
    "Mean difference of each pair of runs with its interval, a panel a metric; filled where Holm's p is < 0.05."
)


def draw_comparison(document: Mapping[str, Any]) -> Drawn:
    """Mean differences with intervals; of many metrics the first eight."""
    found = document["comparison"]
    metrics = found["metrics"][:_MOST_PANELS]
    pairs = len(found["differences"]) // max(1, len(found["metrics"]))
    inches = (3.9, 0.9 + 0.3 * pairs)
    panels = max(1, len(metrics))
    return draw(lambda axes: _paint(found, metrics, axes), "Paired differences", _ALT, panels, inches)


def _paint(found: Mapping[str, Any], metrics: Sequence[str], panels: "Sequence[Axes]") -> None:
    for axes, metric in zip(panels, metrics):
        differences = [each for each in found["differences"] if each["metric"] == metric]
        for height, each in enumerate(differences):
            _point(axes, height, each)
        axes.axvline(0, color=FAINT, linewidth=1, linestyle="--")
        names = [f"{each['second']} − {each['first']}" for each in differences]
        axes.set_yticks(range(len(differences)), [_plain(name) for name in names])
        axes.set_ylim(len(differences) - 0.4, -0.6)
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel(_plain(metric), fontsize=7)


def _plain(name: str) -> str:
    """Between dollar signs matplotlib would read a formula."""
    return name.replace("$", r"\$")


def _point(axes: "Axes", height: int, each: Mapping[str, Any]) -> None:
    mean = each["mean"]
    if mean["value"] is None:
        axes.annotate("no case", (0, height), fontsize=7, color=FAINT)
        return
    if mean["low"] is not None:
        axes.plot([mean["low"], mean["high"]], [height, height], color=MAIN, linewidth=1.5)
    clear = each["p_holm"] is not None and each["p_holm"] < 0.05
    axes.plot(mean["value"], height, "o", color=MAIN, markerfacecolor=MAIN if clear else "white", markersize=6)
