"""Changes to the plans that nnU-Net makes: another network in the same sizes, another patch. Plain data, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from metseg.core.errors import ConfigError, InputError
from metseg.training.nnunet.recipe import LEAST_PATCH, Network, NnunetRecipe

_FEWEST_STAGES: Final = 3


@dataclass(frozen=True)
class Planner:
    """Who plans for a network.

    Args:
        kind: nnU-Net's class.
        plans: name of the plans, which names the trained folder too.
        network_class: what the plans' network is replaced by; None: it stays.
    """

    kind: str
    plans: str
    network_class: str | None = None


PLANNERS: Final[Mapping[Network, Planner]] = {
    "nnunet": Planner("ExperimentPlanner", "nnUNetPlans"),
    "resenc-m": Planner("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans"),
    "resenc-l": Planner("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans"),
    "unet++": Planner("ExperimentPlanner", "UNetPlusPlusPlans", "metseg.networks.unet_plus_plus.UNetPlusPlus"),
    "attention-unet": Planner(
        "ExperimentPlanner", "AttentionUNetPlans", "metseg.networks.attention_unet.AttentionUNet"
    ),
}


@dataclass(frozen=True)
class Topology:
    """What nnU-Net makes of a patch.

    Args:
        patch: voxels along each axis, as the network can divide them.
        strides: of each stage along each axis.
        kernels: likewise.
    """

    patch: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]


def with_network(plan: Mapping[str, Any], network_class: str | None) -> dict[str, Any]:
    """A configuration whose network is another, called with the same arguments."""
    if network_class is None:
        return dict(plan)
    return {**plan, "architecture": {**plan["architecture"], "network_class_name": network_class}}


def with_patch(plan: Mapping[str, Any], topology: Topology, base: int, most: int) -> dict[str, Any]:
    """A configuration for another patch; stages that it has more than the plan get as many blocks as the plan's last.

    Args:
        plan: of one configuration.
        topology: for the patch.
        base: features of the first stage, doubled from stage to stage.
        most: features of a stage at most.
    """
    count = len(topology.strides)
    given = plan["architecture"]["arch_kwargs"]
    blocks = "n_blocks_per_stage" if "n_blocks_per_stage" in given else "n_conv_per_stage"
    sized = {
        **given,
        "n_stages": count,
        "features_per_stage": [min(base * 2**stage, most) for stage in range(count)],
        "kernel_sizes": [list(kernel) for kernel in topology.kernels],
        "strides": [list(stride) for stride in topology.strides],
        blocks: _drawn(given[blocks], count),
        "n_conv_per_stage_decoder": _drawn(given["n_conv_per_stage_decoder"], count - 1),
    }
    return {
        **plan,
        "patch_size": list(topology.patch),
        "architecture": {**plan["architecture"], "arch_kwargs": sized},
    }


def check_plans(plans: Mapping[str, Any], recipe: NnunetRecipe) -> None:
    """Refuse plans that the recipe's configuration cannot be trained by.

    Raises:
        ConfigError: there is no such configuration, its network has too few stages, or its batch too few patches.
    """
    known = plans["configurations"]
    for name in (*recipe.stages, *recipe.prepared):
        if name not in known:
            raise ConfigError(
                f"nnU-Net plans no {name} for this data set: it has {', '.join(known)}.",
                hint="Low resolution and the cascade are for images of which a patch holds less than a quarter: take "
                "3d_fullres, or a smaller patch." if "3d_fullres" in known else "Take the configuration 2d.",
            )  # fmt: skip
    for name in recipe.prepared:
        if known[name]["architecture"]["arch_kwargs"]["n_stages"] < _FEWEST_STAGES:
            raise ConfigError(
                f"The images are too small for {name}: a patch of {known[name]['patch_size']} voxels can be halved "
                f"less than twice.", hint=f"Take images, or a patch, with a side of at least {LEAST_PATCH} voxels.",
            )  # fmt: skip
    for name in recipe.stages:
        configuration = known["3d_fullres" if name == "3d_cascade_fullres" else name]
        if configuration["batch_size"] < recipe.gpus:
            raise ConfigError(
                f"A batch of {name} has {configuration['batch_size']} patches, fewer than {recipe.gpus} GPUs.",
                hint="Set batch to a multiple of gpus.",
            )


def check_start(plans: Mapping[str, Any], dataset: Mapping[str, Any], recipe: NnunetRecipe, channels: int) -> None:
    """Refuse to start from a model that is not what the recipe says.

    Args:
        plans: of the model that the training starts from.
        dataset: ``dataset.json`` of that model.
        recipe: of this training.
        channels: of this data set.

    Raises:
        InputError: it has other channels.
        ConfigError: its network is another, or it does not know the configuration.
    """
    theirs = len(dataset.get("channel_names", dataset.get("modality", {})))
    if theirs != channels:
        raise InputError(
            f"The model to start from takes {theirs} channels, and the data set has {channels}.",
            hint="Choose a data set with the same sequences, or leave start out of the recipe.",
        )
    own = "PlainConvUNet" if recipe.network == "nnunet" else "ResidualEncoderUNet"
    expected = PLANNERS[recipe.network].network_class or own
    known = plans["configurations"]
    for name in [one for one in recipe.prepared if one in known]:
        found = str(known[name].get("architecture", {}).get("network_class_name", "of an older nnU-Net"))
        if not found.endswith(expected):
            raise ConfigError(
                f"The model to start from has the network {found.rpartition('.')[2]}, not that of {recipe.network}.",
                hint="Set network in the recipe to what the model is.",
            )
    check_plans(plans, recipe)


def _drawn(values: Sequence[int] | int, count: int) -> list[int]:
    """As many values, the last repeated where there are too few."""
    known = [values] if isinstance(values, int) else list(values)
    return [*known, *[known[-1]] * count][:count]
