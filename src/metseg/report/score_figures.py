"""Figures of an evaluation, drawn from its numbers: FROC, sensitivity by size, Bland–Altman, Dice, reliability."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from metseg.report.plotting import ACCENT, FAINT, INK, MAIN, SECOND, Drawn, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]


@dataclass(frozen=True)
class _Plot:
    """A figure that can be drawn, if there are numbers for it.

    Args:
        title: above it.
        alt: what it shows, in words.
        paint: draws into one pair of axes; more ``panels`` are more pairs side by side.
        panels: how many.
    """

    title: str
    alt: str
    paint: "Callable[[Document, Sequence[Axes]], None]"
    panels: int = 1


def draw_figures(document: Document) -> dict[str, Drawn]:
    """All figures that the evaluation has numbers for, by name, as PNG and SVG. The same numbers, the same bytes."""
    found = document["cohort"].get("field")
    if found is None:
        return {}
    return {
        name: draw(partial(plot.paint, document), plot.title, plot.alt, plot.panels)
        for name, plot in _PLOTS.items()
        if _has_numbers(name, document, found)
    }


def _has_numbers(name: str, document: Document, found: Mapping[str, Any]) -> bool:
    lesions = int(found["counts"]["lesions"])
    enough: dict[str, bool] = {
        "froc": found["froc"] is not None and lesions > 0,
        "sensitivity_by_size": lesions > 0,
        "bland_altman": bool(_volumes(document)),
        "dice_by_volume": lesions > 0,
        "reliability": found["voxel_calibration"] is not None,
    }
    return enough[name]


def _lesions(document: Document) -> Iterator[Mapping[str, Any]]:
    for case in document["cases"].values():
        yield from case.get("field", {}).get("lesions", ())


def _volumes(document: Document) -> list[tuple[float, float]]:
    """Reference and matched volume of each found lesion."""
    return [(each["volume_mm3"], each["matched_volume_mm3"]) for each in _lesions(document) if each["found"]]


def _paint_froc(document: Document, panels: "Sequence[Axes]") -> None:
    (axes,) = panels
    curve = document["cohort"]["field"]["froc"]
    rates, sensitivities = [0.0, *curve["rates"]], [0.0, *curve["sensitivities"]]
    axes.plot(rates, sensitivities, color=MAIN, linewidth=1.8, drawstyle="steps-post", label="curve")
    points = [each for each in curve["points"] if each["sensitivity"]["value"] is not None]
    for each in points:
        found = each["sensitivity"]
        if found["low"] is not None:
            axes.plot([each["rate"]] * 2, [found["low"], found["high"]], color=FAINT, linewidth=1.2)
        filled = ACCENT if not each["beyond_curve"] else "white"
        axes.plot(each["rate"], found["value"], "o", color=ACCENT, markerfacecolor=filled, markersize=6)
    rule = document["options"]["field"]["froc"]
    axes.set(xlabel=f"false components a {rule['per']}", ylabel="sensitivity, per lesion", ylim=(-0.02, 1.02))
    axes.set_xlim(0, max(rule["rates"]) * 1.04)


def _paint_sizes(document: Document, panels: "Sequence[Axes]") -> None:
    found = document["cohort"]["field"]
    for axes, bins, unit in zip(panels, (found["by_diameter"], found["by_volume"]), ("diameter, mm", "volume, mm³")):
        values = [each["sensitivity"]["value"] for each in bins]
        axes.bar(range(len(bins)), [value or 0 for value in values], color=MAIN, width=0.62)
        for place, each in enumerate(bins):
            interval = each["sensitivity"]
            if interval["low"] is not None:
                axes.plot([place] * 2, [interval["low"], interval["high"]], color=INK, linewidth=1.2)
            axes.text(place, 1.03, f"{each['found']}/{each['lesions']}", ha="center", va="bottom", fontsize=8)
        axes.set_xticks(range(len(bins)), [each["label"] for each in bins])
        axes.set(xlabel=f"reference's {unit}", ylabel="sensitivity", ylim=(0, 1.14))


def _paint_bland_altman(document: Document, panels: "Sequence[Axes]") -> None:
    (axes,) = panels
    pairs = _volumes(document)
    axes.plot([(a + b) / 2 for a, b in pairs], [b - a for a, b in pairs], "o", color=MAIN, markersize=4, alpha=0.7)
    agreement = document["cohort"]["field"]["lesion_volume"]
    for name, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
        value = agreement[name]["value"]
        if value is not None:
            axes.axhline(value, color=ACCENT, linestyle=style, linewidth=1.3)
            axes.annotate(
                f"{value:.0f}", (1.0, value), xycoords=("axes fraction", "data"), fontsize=8, va="bottom", ha="right"
            )
    axes.set(xlabel="mean of both volumes, mm³", ylabel="prediction − reference, mm³")
    if len(pairs) > 1:
        axes.set_xscale("log")


def _paint_dice(document: Document, panels: "Sequence[Axes]") -> None:
    (axes,) = panels
    lesions = list(_lesions(document))
    for wanted, colour, marker, name in ((True, MAIN, "o", "found"), (False, SECOND, "x", "missed")):
        some = [each for each in lesions if each["found"] is wanted]
        axes.plot(
            [each["volume_mm3"] for each in some],
            [each["dice"] for each in some],
            marker,
            color=colour,
            markersize=4.5,
            alpha=0.75,
            label=f"{name} ({len(some)})",
        )
    for edge in document["options"]["field"]["volume_edges_mm3"]:
        axes.axvline(edge, color=FAINT, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set(xlabel="reference's volume, mm³", ylabel="Dice of the lesion", ylim=(-0.04, 1.04))
    # Above the axes: inside them it would cover lesions.
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False, fontsize=8)


def _paint_reliability(document: Document, panels: "Sequence[Axes]") -> None:
    found = document["cohort"]["field"]
    both = (("voxels", found["voxel_calibration"]), ("components", found["component_calibration"]))
    for axes, (name, each) in zip(panels, both):
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1)
        bins = [one for one in each["bins"] if one["count"]] if each else []
        chances, shares = [one["mean_probability"] for one in bins], [one["share_true"] for one in bins]
        axes.plot(chances, shares, "o-", color=MAIN, markersize=4.5, linewidth=1.4)
        for one in bins:
            place = one["mean_probability"], one["share_true"]
            axes.annotate(f"{one['count']}", place, fontsize=6.5, color=INK, xytext=(3, -8), textcoords="offset points")
        axes.set(xlabel=f"mean probability of {name}", ylabel="share that is lesion", xlim=(0, 1), ylim=(-0.02, 1.02))


_PLOTS: Final = {
    "froc": _Plot(
        "FROC",
        "Sensitivity per lesion against false components; points at the rates asked for, with intervals; hollow ones "
        "lie beyond the curve's end.",
        _paint_froc,
    ),
    "sensitivity_by_size": _Plot(
        "Sensitivity by size",
        "Bars of sensitivity by the reference's diameter and volume, with intervals and counts.",
        _paint_sizes,
        panels=2,
    ),
    "bland_altman": _Plot(
        "Volumes of found lesions (Bland and Altman)",
        "Difference of volumes against their mean, one point a found lesion, with bias and limits of agreement.",
        _paint_bland_altman,
    ),
    "dice_by_volume": _Plot(
        "Dice by volume",
        "Dice of each lesion of the reference against its volume; missed lesions are crosses at 0; dotted lines are "
        "the edges of the volume bins.",
        _paint_dice,
    ),
    "reliability": _Plot(
        "Reliability",
        "Share of voxels, and of components, that are lesion against their mean probability, with counts.",
        _paint_reliability,
        panels=2,
    ),
}
FIGURES: Final = tuple(_PLOTS)
