"""The report of an evaluation: one HTML file that needs nothing else, neither network nor scripts."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from metseg.report.evaluation_sections import headline, sections
from metseg.report.page import flat, page_template
from metseg.report.plotting import Drawn
from metseg.report.sentences import plain_name


def render_evaluation(document: Mapping[str, Any], figures: Mapping[str, Drawn]) -> str:
    """The page, with tables and figures. Everything that comes from outside (names, notes) is escaped.

    Args:
        document: as in evaluation.json.
        figures: by name (``metseg.report.score_figures``).

    Returns:
        A whole HTML5 document. The same evaluation gives the same text.
    """
    return page_template("evaluation.html.j2").render(
        headline=headline(document),
        warnings=document["warnings"],
        labels=document["label_meaning"],
        sections=[(section, _figure(figures.get(section.key))) for section in sections(document)],
        plain=plain_name,
        options=flat(document["options"]),
        versions=list(document["versions"].items()),
        unmatched=document["unmatched_predictions"],
    )


def _figure(drawn: Drawn | None) -> dict[str, Any] | None:
    if drawn is None:
        return None
    uri = f"data:image/png;base64,{b64encode(drawn.png).decode()}"
    return {"uri": uri, "width": drawn.width * 2 // 3, "height": drawn.height * 2 // 3, "alt": drawn.alt}
