"""What nnU-Net v2's ``plans.json`` and ``dataset.json`` say, as metseg's ``NnunetModel``; plans of 2.1 to 2.8."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from metseg.core.errors import ConfigError, ModelError
from metseg.engines.nnunet.prepare import Normalisation
from metseg.engines.nnunet.resample import Resampling
from metseg.engines.nnunet.stage import NnunetModel, Stage
from metseg.preprocess.steps import AnyStep, build

Json = Mapping[str, Any]
# Encoder and decoder. nnU-Net finds its own networks by their last name wherever they lie; metseg's go by their whole.
_NETWORKS: Final = {
    "PlainConvUNet": ("plain", "plain"), "ResidualEncoderUNet": ("residual", "plain"),
    "metseg.networks.unet_plus_plus.UNetPlusPlus": ("plain", "nested"),
    "metseg.networks.attention_unet.AttentionUNet": ("plain", "attention"),
}  # fmt: skip
_DEPTHS: Final = {"plain": "n_conv_per_stage", "residual": "n_blocks_per_stage"}
_SCHEMES: Final = {
    "ZScoreNormalization": "zscore", "CTNormalization": "ct", "RescaleTo01Normalization": "rescale",
    "NoNormalization": "none",
}  # fmt: skip
_RESAMPLING: Final = {"resample_data_or_seg_to_shape": True, "no_resampling_hack": False}
_READERS: Final = {"SimpleITKIO": False, "NibabelIO": False, "NibabelIOWithReorient": True}


# Under this key of dataset.json metseg train records what it did to images before nnU-Net saw them.
STEPS: Final = "metseg_preprocessing"


@dataclass(frozen=True)
class Plans:
    """Both files of a model folder.

    Args:
        plans: ``plans.json``.
        dataset: ``dataset.json``.
    """

    plans: Json
    dataset: Json

    def configuration(self, name: str) -> dict[str, Any]:
        """A configuration with all that it inherits.

        Raises:
            ModelError: there is none of that name, or they inherit in a circle.
        """
        known = self.plans.get("configurations", {})
        chain: list[str] = []
        while name:
            if name not in known or name in chain:
                raise ModelError(
                    f"plans.json has no configuration {name!r}." if name not in known
                    else f"In plans.json the configuration {name!r} inherits from itself.",
                    hint=f"It has {', '.join(known) or 'none'}.",
                )  # fmt: skip
            chain.append(name)
            name = str(known[name].get("inherits_from", ""))
        return {key: value for link in reversed(chain) for key, value in known[link].items()}

    def dropout(self, name: str) -> bool:
        """Whether a configuration's network has dropout; no layout before 2.5 could say so.

        Raises:
            ModelError: there is no such configuration.
        """
        given = self.configuration(name).get("architecture", {}).get("arch_kwargs", {})
        return given.get("dropout_op") is not None

    def channels(self) -> tuple[str, ...]:
        """Names of the input channels, in order."""
        named = self.dataset.get("channel_names", self.dataset.get("modality", {}))
        return tuple(str(named[key]) for key in sorted(named, key=int))

    def steps(self) -> tuple[AnyStep, ...]:
        """What was done to images before nnU-Net saw them, by metseg.

        Raises:
            ModelError: it is nothing that this metseg knows.
        """
        try:
            return build(self.dataset.get(STEPS, ()))
        except (ConfigError, TypeError, ValueError) as error:
            raise ModelError(f"{STEPS} in dataset.json is wrong: {error}") from error

    def labels(self) -> "Labels":
        """Which output is which label.

        Raises:
            ModelError: ``dataset.json`` does not say.
        """
        given = {name: value for name, value in self.dataset.get("labels", {}).items() if name != "ignore"}
        values = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in given.items()}
        if values.get("background") != (0,):
            raise ModelError("dataset.json does not name label 0 as background.")
        foreground = tuple(sorted({one for some in values.values() for one in some} - {0}))
        if all(len(some) == 1 for some in values.values()):
            names = {some[0]: name for name, some in values.items()}
            if sorted(names) != list(range(len(names))):
                raise ModelError("The labels in dataset.json are not 0, 1, 2, …, which nnU-Net needs.")
            return Labels(tuple(names[n] for n in sorted(names)), tuple(sorted(names)), foreground, regions=False)
        order = tuple(int(value) for value in self.dataset.get("regions_class_order") or ())
        names_of_regions = tuple(name for name in values if name != "background")
        if len(order) != len(names_of_regions):
            raise ModelError("dataset.json has regions, but its regions_class_order does not name a label for each.")
        return Labels(names_of_regions, order, foreground, regions=True)


@dataclass(frozen=True)
class Labels:
    """What the outputs mean.

    Args:
        names: of each output; for labels, the first is the background.
        values: of each output's label.
        foreground: all values but 0.
        regions: whether outputs are regions.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    foreground: tuple[int, ...]
    regions: bool


def model_of(plans: Plans, stages: Sequence[Stage]) -> NnunetModel:
    """The whole model.

    Raises:
        ModelError: the stages do not fit each other, or nnU-Net read images in a way that metseg does not.
    """
    reader = str(plans.plans.get("image_reader_writer", "SimpleITKIO"))
    labels = plans.labels()
    i, j, k = (2 - int(axis) for axis in plans.plans.get("transpose_forward", (0, 1, 2)))
    try:
        return NnunetModel.model_validate({
            "stages": stages, "axes": (i, j, k), "canonical": _known(_READERS, reader, "reader of images"),
            "labels": labels.values, "regions": labels.regions, "foreground": labels.foreground,
        })  # fmt: skip
    except ValidationError as error:
        raise ModelError(f"The model is not consistent: {error.errors()[0]['msg']}.") from error


def stage_of(plans: Plans, name: str, weights: Sequence[str], mirror_axes: Sequence[int] | None) -> Stage:
    """One configuration as a stage.

    Args:
        plans: of the model.
        name: of the configuration.
        weights: paths of the folds' weights in the bundle.
        mirror_axes: ``inference_allowed_mirroring_axes`` of the checkpoint.

    Raises:
        ModelError: something that metseg does not support, named; or a plan that lacks something.
    """
    it = plans.configuration(name)
    handed_on = len(plans.labels().foreground) if it.get("previous_stage") else 0
    try:
        return Stage.model_validate({
            "name": name, "weights": tuple(weights), "spacing_mm": it["spacing"], "window": it["patch_size"],
            "network": _network(it, len(plans.channels()) + handed_on, len(plans.labels().values)),
            "normalisation": _normalisation(plans, it), "image_resampling": _resampling(it, "data", 3),
            "label_resampling": _resampling(it, "seg", 1), "logit_resampling": _resampling(it, "probabilities", 1),
            "mirror_axes": tuple(mirror_axes or ()),
        })  # fmt: skip
    except KeyError as error:
        raise ModelError(f"The configuration {name} in plans.json lacks {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(f"The configuration {name} in plans.json is not valid: {where}: {first['msg']}.") from error


def _known(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ModelError(f"The model needs the {what} {name}, which metseg does not have.",
                         hint=f"It has {', '.join(table)}.")  # fmt: skip
    return table[name]


def _network(it: Json, channels: int, outputs: int) -> dict[str, Any]:
    """``UNetArguments`` of a configuration, in the layout of 2.5 and later, or in the one before."""
    architecture = it.get("architecture")
    if architecture is None:
        encoder, decoder = _known(_NETWORKS, str(it["UNet_class_name"]), "network")
        base, most = int(it["UNet_base_num_features"]), int(it["unet_max_num_features"])
        depth = it["n_conv_per_stage_encoder"]
        return {
            "channels": channels, "outputs": outputs, "encoder": encoder, "decoder": decoder,
            "features": tuple(min(base * 2**n, most) for n in range(len(depth))), "depth": depth,
            "kernels": it["conv_kernel_sizes"], "strides": it["pool_op_kernel_sizes"],
            "decoder_depth": it["n_conv_per_stage_decoder"],
        }  # fmt: skip
    name = str(architecture["network_class_name"])
    encoder, decoder = _known(_NETWORKS, name if name in _NETWORKS else name.rpartition(".")[2], "network")
    given = architecture["arch_kwargs"]
    _check_blocks(given)
    stages, axes = int(given["n_stages"]), len(it["patch_size"])
    return {
        "channels": channels, "outputs": outputs, "encoder": encoder, "decoder": decoder,
        "features": _spread(given["features_per_stage"], stages),
        "kernels": tuple(_spread(one, axes) for one in _spread(given["kernel_sizes"], stages)),
        "strides": tuple(_spread(one, axes) for one in _spread(given["strides"], stages)),
        "depth": _spread(given[_DEPTHS[encoder]], stages),
        "decoder_depth": _spread(given["n_conv_per_stage_decoder"], stages - 1),
        "epsilon": float((given.get("norm_op_kwargs") or {}).get("eps", 1e-5)),
        "slope": float((given.get("nonlin_kwargs") or {}).get("negative_slope", 0.01)),
    }  # fmt: skip


def _check_blocks(given: Json) -> None:
    """Refuse building blocks that the graph does not have."""
    nonlin = str(given.get("nonlin")).rpartition(".")[2]
    norm = str(given.get("norm_op")).rpartition(".")[2]
    _known({"LeakyReLU": None}, nonlin, "activation")
    _known({f"{kind}Norm{n}d": None for kind in ("Instance", "Batch") for n in (2, 3)}, norm, "normalisation")
    for key in ("bottleneck_channels", "squeeze_excitation", "stochastic_depth_p", "nonlin_first"):
        if key != "stochastic_depth_p" and given.get(key):
            raise ModelError(f"The model's network has {key}, which metseg does not support.")


def _spread(value: Any, count: int) -> tuple[Any, ...]:
    """A value for each, where one may stand for all."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) * count


def _normalisation(plans: Plans, it: Json) -> tuple[Normalisation, ...]:
    files = plans.plans
    training = files.get("foreground_intensity_properties_per_channel",
                         files.get("foreground_intensity_properties_by_modality", {}))  # fmt: skip
    result = []
    for number, (scheme, masked) in enumerate(zip(it["normalization_schemes"], it["use_mask_for_norm"], strict=True)):
        kind = _known(_SCHEMES, str(scheme), "normalisation")
        seen = training[str(number)] if kind == "ct" else {}
        statistics = {} if kind != "ct" else {
            "low": seen["percentile_00_5"], "high": seen["percentile_99_5"], "mean": seen["mean"],
            "deviation": seen["std"],
        }  # fmt: skip
        result.append(Normalisation(scheme=kind, masked=bool(masked) and kind == "zscore", **statistics))
    return tuple(result)


def _resampling(it: Json, what: str, order: int) -> Resampling | None:
    """None where nothing is resampled."""
    name = str(it.get(f"resampling_fn_{what}", "resample_data_or_seg_to_shape"))
    if not _known(_RESAMPLING, name, "resampling"):
        return None
    given = it.get(f"resampling_fn_{what}_kwargs", {})
    return Resampling.model_validate({
        "order": given.get("order", order), "order_z": given.get("order_z", 0),
        "separate_z": given.get("force_separate_z"), "ratio": given.get("separate_z_anisotropy_threshold", 3),
    })  # fmt: skip
