"""The report of an evaluation: one HTML file that needs nothing else, neither network nor scripts."""

from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from metseg.report.evaluation_sections import headline, sections
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
    return _template().render(
        headline=headline(document),
        warnings=document["warnings"],
        labels=document["label_meaning"],
        sections=[(section, _figure(figures.get(section.key))) for section in sections(document)],
        plain=plain_name,
        options=_flat(document["options"]),
        versions=list(document["versions"].items()),
        unmatched=document["unmatched_predictions"],
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("metseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("evaluation.html.j2")


def _figure(drawn: Drawn | None) -> dict[str, Any] | None:
    if drawn is None:
        return None
    uri = f"data:image/png;base64,{b64encode(drawn.png).decode()}"
    return {"uri": uri, "width": drawn.width * 2 // 3, "height": drawn.height * 2 // 3, "alt": drawn.alt}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested options as dotted names and texts."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            pairs.append((f"{prefix}{key}", ", ".join(map(str, value)) or "none"))
        else:
            flag = value is None or isinstance(value, bool)
            words = {None: "not set", True: "yes", False: "no"}
            pairs.append((f"{prefix}{key}", words[value] if flag else str(value)))
    return pairs
