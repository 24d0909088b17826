"""nnU-Net raw, as anyone may have made it: ``imagesTr/CASE_0000.nii.gz``, ``labelsTr``, ``imagesTs``."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from metseg.datasets.nnunet_raw import RawPart, RawSet, read_raw_set
from metseg.datasets.source import Adapter, FoundSet, LayoutOptions, SourceCase, SourceFile, SourceMask, kept_name
from metseg.io.nnunet_channels import channel_sequences
from metseg.io.patients import patients_of

Listed = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda text: tuple(text.split(",")) if isinstance(text, str) and text else text or ()),
]


class NnunetOptions(LayoutOptions):
    """What ``dataset.json`` does not say."""

    patient: str | None = Field(
        default=None, description="pattern that finds the patient in a case's name, as '^([^_]+)_'; without it each "
        "case is a patient of its own"
    )  # fmt: skip
    channels: Listed = Field(default=(), description="the sequence of each channel, where names do not tell: t1c,t2f")


def _find(src: Path, options: NnunetOptions) -> FoundSet:
    raw = read_raw_set(src)
    sequences = channel_sequences(raw.channels, options.channels)
    names = [*raw.training.images, *raw.test.images, *raw.training.labels]
    patients = patients_of(sorted(set(names)), regex=options.patient)
    cases = [*_cases(raw, raw.training, sequences, patients), *_cases(raw, raw.test, sequences, patients, test=True)]
    notes = () if options.patient else ("No pattern of patients was given: each case counts as a patient of its own.",)
    return FoundSet(tuple(cases), raw.labels, sequences, notes)


def _cases(
    raw: RawSet, part: RawPart, sequences: tuple[str, ...], patients: dict[str, str], *, test: bool = False
) -> list[SourceCase]:
    identity = {number: number for number in raw.labels}
    return [
        SourceCase(
            name=kept_name(name),
            patient=patients[name],
            images={sequences[n]: SourceFile(p) for n, p in sorted(channels.items()) if n < len(sequences)},
            masks=(SourceMask(SourceFile(part.labels[name]), identity),) if name in part.labels else (),
            unlabelled=test and name not in part.labels,
        )
        for name, channels in sorted(part.images.items())
    ]


NNUNET: Final = Adapter(
    name="nnunet",
    title="nnU-Net raw",
    expects="DatasetNNN_Name/ with dataset.json, imagesTr, labelsTr and perhaps imagesTs",
    licence="yours",
    access="your own data",
    find=_find,
    options=NnunetOptions,
    uncertain=("Names tell no patient: see the option patient.",),
)
