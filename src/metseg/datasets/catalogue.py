"""Public layouts by name."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from metseg.core.errors import ConfigError
from metseg.core.registry import Registry
from metseg.datasets.source import Adapter, LayoutOptions

_ADAPTERS: Final = "metseg.datasets.adapters"
DATASETS: Final = Registry(
    kind="layout",
    group="metseg.datasets",
    builtin={
        "bids": f"{_ADAPTERS}.bids:BIDS",
        "brain-mets-lung": f"{_ADAPTERS}.brain_mets_lung:BRAIN_METS_LUNG",
        "brats-mets-2023": f"{_ADAPTERS}.brats_mets:BRATS_METS_2023",
        "brats-mets-2025": f"{_ADAPTERS}.brats_mets:BRATS_METS_2025",
        "csv": f"{_ADAPTERS}.table:TABLE",
        "motum": f"{_ADAPTERS}.motum:MOTUM",
        "nnunet": f"{_ADAPTERS}.nnunet:NNUNET",
        "nyumets": f"{_ADAPTERS}.nyumets:NYUMETS",
        "openbtai-mets": f"{_ADAPTERS}.openbtai:OPENBTAI_METS",
        "pretreat-metstobrain": f"{_ADAPTERS}.brats_mets:PRETREAT",
        "proteas": f"{_ADAPTERS}.proteas:PROTEAS",
        "stanford-nifti": f"{_ADAPTERS}.stanford:STANFORD_NIFTI",
        "stanford-png": f"{_ADAPTERS}.stanford:STANFORD_PNG",
        "ucsf-bmsr": f"{_ADAPTERS}.ucsf_bmsr:UCSF_BMSR",
        "yale-longitudinal": f"{_ADAPTERS}.yale:YALE",
    },
)


def load_adapter(name: str) -> Adapter:
    """The adapter called ``name``.

    Raises:
        ConfigError: there is none, or a plug-in of that name is no adapter.
    """
    adapter = DATASETS.load(name)
    if not isinstance(adapter, Adapter):
        raise ConfigError(f"The plug-in {name!r} is no adapter of a layout.", hint="It must be a datasets.Adapter.")
    return adapter


def adapter_options(adapter: Adapter, settings: Mapping[str, str]) -> LayoutOptions:
    """The options of a layout, from texts by name.

    Raises:
        ConfigError: an option that the layout does not have, or a wrong value.
    """
    known = adapter.options.model_fields
    if unknown := [name for name in settings if name not in known]:
        raise ConfigError(
            f"The layout {adapter.name} has no option {unknown[0]!r}.",
            hint=f"It has: {', '.join(known) or 'none'}; see metseg datasets list {adapter.name}.",
        )
    plain: dict[str, Any] = dict(settings)
    try:
        return adapter.options.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        what = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(
            f"The option {first['loc'][0]} of {adapter.name} is wrong: {what}.",
            hint=f"See metseg datasets list {adapter.name}.",
        ) from error
