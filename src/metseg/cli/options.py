"""Options that several commands share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from metseg.core.errors import ConfigError

ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME|FOLDER", help="A model that ships, or a bundle's folder.")
]
EngineOption = Annotated[str | None, typer.Option("--engine", metavar="NAME", help="What runs the model.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", metavar="N", help="Processor threads; 0 for all.")]
DeviceOption = Annotated[str | None, typer.Option("--device", metavar="NAME", help="Where the engine runs.")]
PointOption = Annotated[
    str | None,
    typer.Option("--operating-point", metavar="NAME|P", help="One of the model's operating points, or a probability."),
]
FastOption = Annotated[bool, typer.Option("--fast", help="No mirrored passes.")]
StandardOption = Annotated[
    bool, typer.Option("--standard", help="Mirrored passes where there is doubt; the default of metseg's own models.")
]
ThoroughOption = Annotated[
    bool, typer.Option("--thorough", help="All mirrored passes, as nnU-Net does; the default of imported models.")
]
MinVolumeOption = Annotated[
    float | None, typer.Option("--min-volume-mm3", metavar="V", help="Drop lesions smaller than this.")
]
FormatsOption = Annotated[
    str | None,
    typer.Option(
        "--formats",
        metavar="LIST",
        help="What to write: nifti,json,csv,png,html (and pdf,probability,uncertainty; DICOM: "
        "dicom-seg,sr,rtstruct,secondary-capture,encapsulated-pdf).",
    ),
]
SegTypeOption = Annotated[
    str | None,
    typer.Option("--seg-type", metavar="NAME", help="How dicom-seg is stored: binary (default) or labelmap."),
]
LayoutOption = Annotated[
    str | None,
    typer.Option("--layout", metavar="NAME", help="metseg (default), bids or nnunet: how masks lie in FOLDER."),
]
MarginOption = Annotated[
    str | None,
    typer.Option("--margin-mm", metavar="LIST", help="Margins in rtstruct, for instance 1,2: PTV_01_1mm and so on."),
]
ProbabilityOption = Annotated[bool, typer.Option("--probability", help="Write probability.nii.gz too.")]
UncertaintyOption = Annotated[
    bool, typer.Option("--uncertainty", help="Write uncertainty.nii.gz too: the entropy of the probability, in bits.")
]
InBrainOption = Annotated[
    bool, typer.Option("--margin-in-brain", help="Margins end where the brain does; for images without a skull only.")
]
ForceModalityOption = Annotated[
    bool, typer.Option("--force-modality", help="Go on where the image does not look like what the model expects.")
]
IdentifyOption = Annotated[
    bool,
    typer.Option("--identify", help="Write the patient's name, id and dates of the DICOM headers into the report."),
]
DeidentifyOption = Annotated[
    bool, typer.Option("--deidentify", help="DICOM results name nobody, and refer to a series of their own.")
]
DeidentifyKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--deidentify-key", metavar="FILE", help="A secret: with it a patient keeps one pseudonym at all visits."
    ),
]
PriorOption = Annotated[
    Path | None,
    typer.Option(
        "--prior",
        metavar="MASK|FOLDER",
        help="Lesions known from an earlier visit: a mask registered to the study, or a folder of masks by case.",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="TOML", help="Options from a file, in a table [segment].")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Results go to FOLDER/<case>/.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Do finished cases again.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table; errors still show.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks and log messages.")]


def given(
    *,
    model: str | None,
    engine: str | None,
    threads: int | None,
    device: str | None,
    operating_point: str | None,
    min_volume_mm3: float | None,
    formats: str | None,
    dicom: tuple[str | None, str | None, bool] = (None, None, False),
    layout: str | None = None,
    naming: tuple[bool, bool, Path | None] = (False, False, None),
    force_modality: bool,
    modes: Mapping[str, bool],
) -> dict[str, Any]:
    """The options given as flags, by their names in ``SegmentOptions``; None where a flag was left out.

    ``dicom`` holds ``--seg-type``, ``--margin-mm`` and ``--margin-in-brain``; ``naming`` holds ``--identify``,
    ``--deidentify`` and ``--deidentify-key``, which brings ``--deidentify`` with it.

    Raises:
        ConfigError: two modes.
    """
    chosen = [name for name, given in modes.items() if given]
    if len(chosen) > 1:
        raise ConfigError(f"--{chosen[0]} and --{chosen[1]} exclude each other.", hint="Give one of them, or none.")
    return {
        "model": model,
        "engine": engine,
        "threads": threads,
        "device": device,
        "operating_point": operating_point,
        "min_volume_mm3": min_volume_mm3,
        "formats": formats,
        "layout": layout,
        "identify": naming[0] or None,
        "deidentify": naming[1] or naming[2] is not None or None,
        "deidentify_key": naming[2],
        "seg_type": dicom[0],
        "margins_mm": dicom[1],
        "margins_in_brain": dicom[2] or None,
        "force_modality": force_modality or None,
        "mode": chosen[0] if chosen else None,
    }
