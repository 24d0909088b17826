"""The options of ``metseg evaluate``: one frozen model, written beside every result."""

import re
from typing import Any, Final, Literal, get_args

from pydantic import Field

from metseg.core.errors import ConfigError
from metseg.core.options import Options
from metseg.evaluate.field import FieldOptions
from metseg.evaluate.leaderboard import Parser
from metseg.evaluate.seed import SeedOptions

Profile = Literal["seed", "brats2023", "brats2024", "brats2025", "surface", "panoptic", "field"]
Labels = Literal["brats", "binary", "any", "instances"]
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)
_PARSERS: Final[dict[str, Parser]] = {
    "0.0.8": "pypi_0.0.8",
    "pypi_0.0.8": "pypi_0.0.8",
    "0.0.10": "pypi_0.0.10",
    "pypi_0.0.10": "pypi_0.0.10",
    "repository": "git_791134c",
    "git_791134c": "git_791134c",
}
_LEADERBOARD: Final = {"large_mm3": 27.0, "overlap": 0.2}
_DEFAULTS: Final = {"large_mm3": 20.0, "overlap": 0.1}
_THRESHOLDS: Final[dict[str, dict[str, float]]] = {
    "leaderboard": _LEADERBOARD,
    "vol27_overlap0.2": _LEADERBOARD,
    "defaults": _DEFAULTS,
    "vol20_overlap0.1": _DEFAULTS,
}


class Brats2025Options(Options):
    """Which of the official variants of 2025.

    Args:
        parser: whose columns.
        large_mm3: least volume of a large lesion.
        overlap: Dice from which a lesion counts as detected.
        file_quirk: quirk P1: axes reversed, spacing not, as when the official evaluator reads files.
    """

    parser: Parser = "pypi_0.0.8"
    large_mm3: float = Field(default=27.0, gt=0, allow_inf_nan=False)
    overlap: float = Field(default=0.2, gt=0, le=1)
    file_quirk: bool = True


class JudgeOptions(Options):
    """How predictions are judged.

    Args:
        profiles: which scores.
        labels: what values mean: ``brats`` 1 NETC, 2 SNFH, 3 ET, 4 RC; ``binary`` 1 lesion, all else refused;
            ``any`` every value above 0 is lesion; ``instances`` every value above 0 is a lesion of its own.
        region: of BraTS labels, what profiles ``seed`` and ``field`` take as lesion.
        missing: a reference without a prediction is a failure (``fail``), or stops everything (``refuse``).
        resample_reference: bring a reference on another grid to the prediction's, by the nearest voxel.
        seed: of profile ``seed``.
        field: of profile ``field``.
        brats2025: of profile ``brats2025``.
    """

    profiles: tuple[Profile, ...] = Field(default=PROFILES, min_length=1)
    labels: Labels = "brats"
    region: Literal["WT", "TC", "ET", "RC"] = "TC"
    missing: Literal["fail", "refuse"] = "fail"
    resample_reference: bool = False
    seed: SeedOptions = SeedOptions()
    field: FieldOptions = FieldOptions()
    brats2025: Brats2025Options = Brats2025Options()


def wanted_profiles(names: list[str]) -> tuple[Profile, ...]:
    """Profiles from names, several at a time between commas or spaces; ``all`` for all; in a fixed order.

    Raises:
        ConfigError: an unknown name.
    """
    wanted = {part for name in names for part in re.split(r"[\s,]+", name) if part}
    unknown = sorted(wanted - {*PROFILES, "all"})
    if unknown:
        raise ConfigError(f"There is no profile {unknown[0]!r}.", hint=f"Known: {', '.join(PROFILES)}, all.")
    return PROFILES if not wanted or "all" in wanted else tuple(name for name in PROFILES if name in wanted)


def brats2025_variant(text: str) -> dict[str, Any]:
    """Options from a parser's name, a pair of thresholds, or both with a comma between.

    >>> brats2025_variant("0.0.10,defaults")
    {'parser': 'pypi_0.0.10', 'large_mm3': 20.0, 'overlap': 0.1}

    Raises:
        ConfigError: a name that is neither.
    """
    found: dict[str, Any] = {}
    for part in (part for part in re.split(r"[\s,:]+", text) if part):
        if part in _PARSERS:
            found["parser"] = _PARSERS[part]
        elif part in _THRESHOLDS:
            found |= _THRESHOLDS[part]
        else:
            known = "0.0.8, 0.0.10, repository; leaderboard (27 mm³, 0.2), defaults (20 mm³, 0.1)"
            raise ConfigError(f"There is no variant {part!r} of BraTS-METS 2025.", hint=f"Known: {known}.")
    return found
