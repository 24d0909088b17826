"""What a caller may choose of the options of ``metseg segment``; the rest is the service's business."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metseg.config.options import SegmentOptions
from metseg.config.resolve import resolve_options
from metseg.core.errors import ConfigError
from metseg.service.settings import Settings

if TYPE_CHECKING:
    from metseg.engines.bundle import Bundle

CHOICES: Final = (
    "model", "mode", "operating_point", "min_volume_mm3", "formats", "identify", "seg_type", "margins_mm",
    "margins_in_brain", "force_modality",
)  # fmt: skip
_FLAGS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_IS_FLAG: Final = frozenset({"identify", "margins_in_brain", "force_modality"})


def chosen_options(text: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """The fields of a form as options, checked; empty ones count as not given.

    Raises:
        ConfigError: an unknown field, a wrong value, or a model that is not on offer.
    """
    given: dict[str, Any] = {name: value for name, value in text.items() if value != ""}
    unknown = sorted(set(given) - set(CHOICES))
    if unknown:
        raise ConfigError(f"There is no option called {unknown[0][:40]!r}.", hint=f"Options are {', '.join(CHOICES)}.")
    for name in _IS_FLAG & set(given):
        given[name] = _flag(name, given[name])
    options = resolve_options(flags=given)
    if options.model is not None and options.model not in models(settings):
        raise ConfigError(f"There is no model called {options.model[:80]!r}.", hint="GET /v1/models lists all.")
    chosen = options.model_dump(mode="json", include=set(given))
    return {**chosen, "formats": list(dict.fromkeys([*options.formats, "nifti", "json", "probability"]))}


def job_options(chosen: Mapping[str, Any], settings: Settings) -> SegmentOptions:
    """The options of a job: what the caller chose, and what the service says."""
    model = chosen.get("model")
    folder = None if model is None else str(models(settings)[model].folder)
    own = {"engine": settings.engine, "device": settings.device, "threads": settings.threads, "model": folder}
    return SegmentOptions.model_validate({**chosen, **own})


def models(settings: Settings) -> "dict[str, Bundle]":
    """The models on offer, by name: those that ship, then those of the service's own folder.

    Raises:
        ModelError: one whose description is not valid.
    """
    from metseg.engines.catalogue import list_bundles  # a second that a restart after a crash can do without

    folders: list[Path | None] = [None]
    if settings.models_dir is not None:
        folders.append(settings.models_dir)
    return {bundle.card.name: bundle for folder in folders for bundle in list_bundles(folder)}


def _flag(name: str, value: str) -> bool:
    if value.lower() not in _FLAGS:
        raise ConfigError(f"The option {name} must be true or false.", hint="Leave it out for false.")
    return _FLAGS[value.lower()]
