"""The node's file: every key of it, checked before anything starts."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from metseg.config.options import Format, SegmentOptions
from metseg.core.errors import ConfigError
from metseg.core.options import Options
from metseg.io.dimse_server import ListenOptions
from metseg.io.peers import Peer
from metseg.pipeline.dicom_outputs import DICOM_FILES

DEFAULT_FORMATS: Final[tuple[Format, ...]] = ("dicom-seg", "sr", "rtstruct")
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Days = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Patterns = tuple[str, ...]


class Rule(Options):
    """Which series is right. All that is given must be met.

    Args:
        name: what the rule is called in logs.
        modality: ``"MR"`` or ``"CT"``.
        description: regular expressions; one of them is found in SeriesDescription or ProtocolName.
        not_description: none of these is.
        sequence: one of these is found in SequenceName, PulseSequenceName or ScanningSequence.
        not_sequence: none of these is.
        contrast: whether a contrast agent must, or must not, be recorded.
        min_slices: images, or frames of multi-frame images, of the series; at least.
        max_slices: at most.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    modality: Literal["MR", "CT"] | None = None
    description: Patterns = ()
    not_description: Patterns = ()
    sequence: Patterns = ()
    not_sequence: Patterns = ()
    contrast: bool | None = None
    min_slices: Annotated[int, Field(ge=1)] = 8
    max_slices: Annotated[int, Field(ge=1)] | None = None

    @field_validator("description", "not_description", "sequence", "not_sequence")
    @classmethod
    def _patterns(cls, values: Patterns) -> Patterns:
        for value in values:
            try:
                re.compile(value)
            except re.error as error:
                message = f"{value!r} is no regular expression: {error}"
                raise ValueError(message) from error
        return values


class Target(Peer):
    """A peer that results are sent to.

    Args:
        name: what it is called in logs and in the register; another name is another target.
        objects: the formats that it gets; None for all DICOM formats that are written.
        first_wait_s: before the second try; each later wait is twice as long.
        longest_wait_s: but no longer than this.
        give_up_h: after this many hours an object that could not be sent is set aside.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
    objects: tuple[Format, ...] | None = None
    first_wait_s: _Seconds = 10.0
    longest_wait_s: _Seconds = 900.0
    give_up_h: _Seconds = 72.0

    def wants(self, file: str) -> bool:
        """Does it get the result of this name?"""
        return self.objects is None or any(DICOM_FILES.get(each) == file for each in self.objects)

    def wait_s(self, tries: int) -> float:
        """How long to wait after so many tries."""
        return float(min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(tries - 1, 60)))


class WatchOptions(Options):
    """A folder in which studies are put.

    Args:
        folder: each folder in it is one drop; it may hold several studies.
        every_s: how often it is looked at.
        quiet_s: a drop is taken once nothing in it has changed for so long.
    """

    folder: Path
    every_s: _Seconds = 10.0
    quiet_s: _Seconds = 30.0


class PollOptions(Peer):
    """A DICOMweb service that is asked for new studies.

    Args:
        query: values by DICOM keyword, as QIDO-RS takes them.
        days: only studies whose StudyDate lies so many days back at most.
        every_s: how often it is asked.
    """

    query: dict[str, str] = Field(default_factory=dict)
    days: Annotated[int, Field(ge=0, le=3650)] = 2
    every_s: _Seconds = 60.0

    @model_validator(mode="after")
    def _web(self) -> "PollOptions":
        if not self.is_web:
            message = "only DICOMweb services are polled (http:// or https://)"
            raise ValueError(message)
        return self


class NodeOptions(Options):
    """All of the file.

    Args:
        store: the node's folder; only its user may look into it.
        quiet_s: a study is segmented once nothing of it has arrived for so long.
        max_waiting: no more studies are begun to be taken while so many wait.
        min_free_gb: nothing is taken, and nothing segmented, while less is free on the disk.
        keep_days: images and results of a study are deleted so many days after it was done.
        keep_failed_days: the same for one that was set aside.
        longest_min: a study that takes longer is ended and counts as failed.
        unmatched: what becomes of a study in which no rule finds a series: ``"choose"``: the reader of DICOM
            chooses, as ``metseg segment`` does; ``"set-aside"``.
        listen: the DICOM listener; None: none.
        watch: the folder; None: none.
        poll: the services.
        send: the targets.
        rule: the first that finds a series decides.
        segment: as for ``metseg segment``; formats are those of DICOM by default.
    """

    store: Path
    quiet_s: _Seconds = 60.0
    max_waiting: Annotated[int, Field(ge=1)] = 200
    min_free_gb: Annotated[float, Field(ge=0)] = 5.0
    keep_days: _Days = 7.0
    keep_failed_days: _Days = 30.0
    longest_min: _Seconds = 60.0
    unmatched: Literal["choose", "set-aside"] = "choose"
    listen: ListenOptions | None = None
    watch: WatchOptions | None = None
    poll: tuple[PollOptions, ...] = ()
    send: tuple[Target, ...] = ()
    rule: tuple[Rule, ...] = ()
    segment: SegmentOptions = SegmentOptions(formats=DEFAULT_FORMATS)

    @field_validator("segment", mode="before")
    @classmethod
    def _dicom_by_default(cls, value: Any) -> Any:
        return {"formats": DEFAULT_FORMATS, **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _of_use(self) -> "NodeOptions":
        """There is a source, and targets can be told apart and get something."""
        names = [target.name for target in self.send]
        written = set(self.segment.formats) & set(DICOM_FILES)
        idle = [target.name for target in self.send if not written & set(target.objects or written)]
        problem = ""
        if not (self.listen or self.watch or self.poll):
            problem = "there is no source: give [listen], [watch] or [[poll]]"
        elif len(set(names)) < len(names):
            problem = "two targets in [[send]] have the same name"
        elif idle:
            problem = f"the target {idle[0]} gets nothing, as [segment] writes none of its objects"
        elif self.segment.identify:
            problem = "identify in [segment] is not for a node: its reports would name patients"
        if problem:
            raise ValueError(problem)
        return self


def read_node_file(path: Path) -> NodeOptions:
    """Read the node's file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or holds keys or values that are wrong (all of them are listed).
    """
    try:
        return NodeOptions.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The node's file {path.name} cannot be read: {error}.") from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {str(each['msg']).removeprefix('Value error, ')}"
            for each in found
        )
        raise ConfigError(
            f"The node's file {path.name} is wrong: {problems}.", hint="docs/reference/node.md lists every key."
        ) from error
