"""``metseg info``: versions, engines, models and extras found."""

from typing import TYPE_CHECKING, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, reported
from metseg.cli.models import summary, threshold_text

if TYPE_CHECKING:
    from metseg.engines.bundle import Bundle


def info_command(*, as_json: shared.JsonOption = False, debug: shared.DebugOption = False) -> None:
    """List versions, engines, models and extras."""
    with reported(as_json=as_json, debug=debug):
        found = gather()
        if as_json:
            print_json(found)
        else:
            typer.echo("\n".join(_lines(found)))


def gather() -> dict[str, Any]:
    """What is installed, as plain data.

    Raises:
        ModelError: a shipped bundle is broken.
    """
    from metseg.core.extras import installed_extras
    from metseg.engines.catalogue import list_bundles
    from metseg.engines.registry import ENGINES
    from metseg.pipeline.segment import library_versions

    return {
        "versions": library_versions(),
        "engines": ENGINES.names(),
        "models": [_describe(bundle) for bundle in list_bundles()],
        "extras": installed_extras(),
    }


def _describe(bundle: "Bundle") -> dict[str, Any]:
    card = bundle.card
    return {
        **summary(bundle),
        "operating_points": {name: point.model_dump() for name, point in card.operating_points.items()},
        "default_operating_point": card.default_operating_point,
        "limits": list(card.limits),
    }


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"{name} {version}" for name, version in found["versions"].items()]
    lines += ["", f"engines: {', '.join(found['engines'])}"]
    for model in found["models"]:
        points = ", ".join(f"{name} {threshold_text(point)}" for name, point in model["operating_points"].items())
        lines.append(
            f"model: {model['name']} {model['version']} ({model['modality']}: {', '.join(model['sequences'])}; "
            f"{model['size_mb']} MB; operating points {points}; default {model['default_operating_point']})"
        )
    if not found["models"]:
        lines.append("model: none installed")
    extras = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in found["extras"].items())
    lines.append(f"extras: {extras or 'none declared'}")
    return lines
