"""Hold metseg and nnUNetPredictor against the same networks in double precision, on models made for it.

``python bench/nnunet_agreement.py [--steps N] [--only WORD]`` needs torch, nnunetv2 (2.8.1 was used) and metseg in one
environment. For each model it writes a folder as nnU-Net does (small networks with random weights, or trained for N
steps to find bright blobs), imports it, runs both on a made-up image, and prints the root mean square error of the
logits, the voxels of another label than double precision gives, and the lowest Dice of a label with it. Cascades are
compared directly, since each program feeds its second stage its own labels. That nnU-Net misses its environment
variables does not matter.
"""

import argparse
import contextlib
import io
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot, determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from scipy.ndimage import gaussian_filter

from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.nnunet.cascade import run_model
from metseg.engines.nnunet_engine import NnunetEngine
from metseg.io.nnunet_import import import_nnunet

RESAMPLING = {
    f"resampling_fn_{what}": "resample_data_or_seg_to_shape" for what in ("data", "seg", "probabilities")
} | {
    f"resampling_fn_{what}_kwargs": {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1))
}  # fmt: skip
SEEN = {"max": 300.0, "mean": 40.0, "median": 38.0, "min": -50.0, "percentile_00_5": -30.0, "percentile_99_5": 90.0,
        "std": 20.0}  # fmt: skip
KINDS = {
    "PlainConvUNet": "dynamic_network_architectures.architectures.unet",
    "ResidualEncoderUNet": "dynamic_network_architectures.architectures.unet",
    "UNetPlusPlus": "metseg.networks.unet_plus_plus", "AttentionUNet": "metseg.networks.attention_unet",
}  # fmt: skip
ONE = {"background": 0, "mets": 1}
THREE = {"background": 0, "core": 1, "oedema": 2, "enhancing": 3}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [1, 3], "enhancing": 3}
Teach = Callable[[torch.nn.Module], None]


@dataclass(frozen=True)
class Model:
    """One model and the image that it is tried on; sizes and spacings in nnU-Net's order (k, j, i)."""

    name: str
    configurations: dict[str, dict[str, Any]]
    stages: tuple[str, ...]
    labels: dict[str, Any]
    channels: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    folds: int = 1
    mirror: bool = True
    transpose: tuple[int, int, int] = (0, 1, 2)
    masked: bool = False


def architecture(kind: str, kernels: list[list[int]], strides: list[list[int]], depth: list[int]) -> dict[str, Any]:
    """A network, as plans describe it."""
    axes, stages = len(kernels[0]), len(kernels)
    given = {
        "n_stages": stages, "features_per_stage": [8, 16, 24][:stages], "kernel_sizes": kernels, "strides": strides,
        "conv_op": f"torch.nn.modules.conv.Conv{axes}d", "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
        "n_blocks_per_stage" if kind == "ResidualEncoderUNet" else "n_conv_per_stage": depth,
        "n_conv_per_stage_decoder": [1] * (stages - 1),
    }  # fmt: skip
    return {
        "network_class_name": f"{KINDS[kind]}.{kind}", "arch_kwargs": given,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }  # fmt: skip


def configuration(
    spacing: list[float],
    window: list[int],
    network: dict[str, Any],
    scheme: str,
    channels: int,
    *,
    masked: bool = False,
) -> dict[str, Any]:
    """A configuration of plans."""
    return {
        "data_identifier": "x", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "patch_size": window,
        "median_image_size_in_voxels": [100.0] * 3, "spacing": spacing, "normalization_schemes": [scheme] * channels,
        "use_mask_for_norm": [masked] * channels, "batch_dice": False, "architecture": network, **RESAMPLING,
    }  # fmt: skip


def models() -> Iterator[Model]:
    """What is compared."""
    plain = architecture("PlainConvUNet", [[3, 3, 3]] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 2]], [2, 2, 2])
    residual = architecture(
        "ResidualEncoderUNet", [[1, 3, 3], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [2, 2, 2]], [1, 2, 2]
    )
    flat = architecture("PlainConvUNet", [[3, 3]] * 3, [[1, 1], [2, 2], [2, 2]], [2, 2, 2])
    score, ct = "ZScoreNormalization", "CTNormalization"
    iso = {"3d_fullres": configuration([1, 1, 1], [32] * 3, plain, score, 1, masked=True)}
    for mirror in (True, False):
        yield Model("3d_fullres, masked z-scores, 2 folds", iso, ("3d_fullres",), ONE, ("T1c",), (40, 52, 46),
                    (1.4, 0.9, 0.8), folds=2, mirror=mirror, masked=True)  # fmt: skip
    thick = {"3d_fullres": configuration([5, 1, 1], [8, 32, 32], residual, score, 4)}
    four = ("T1c", "T1n", "T2f", "T2w")
    for shape, spacing in (((14, 50, 44), (4.0, 0.8, 0.9)), ((44, 50, 44), (1.0, 0.8, 0.9))):
        yield Model(f"residual, 5 mm slices of {spacing[0]:g} mm ones", thick, ("3d_fullres",), THREE, four, shape,
                    spacing, transpose=(0, 2, 1))  # fmt: skip
    none = {"3d_fullres": configuration([1, 1, 1], [32] * 3, plain, "NoNormalization", 1)}
    yield Model("regions", none, ("3d_fullres",), REGIONS, ("T1c",), (30, 50, 44), (1.0, 1.5, 1.2))
    yield Model("2d, CT", {"2d": configuration([1, 1], [48, 40], flat, ct, 1)}, ("2d",), ONE, ("CT",), (12, 60, 70),
                (5.0, 0.7, 0.8))  # fmt: skip
    cascade = {
        "3d_lowres": configuration([2, 2, 2], [32] * 3, plain, ct, 1),
        "3d_fullres": configuration([1, 1, 1], [32] * 3, plain, ct, 1),
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    yield Model("cascade, CT, 2 folds", cascade, ("3d_lowres", "3d_cascade_fullres"), THREE, ("CT",), (30, 60, 56),
                (2.0, 0.9, 0.9), folds=2, mirror=False)  # fmt: skip
    yield from _own_networks()


def _own_networks() -> Iterator[Model]:
    """U-Net++ and Attention U-Net, for slices of 5 mm and in 2D."""
    kernels, strides = [[1, 3, 3], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    for kind in ("UNetPlusPlus", "AttentionUNet"):
        thick = configuration(
            [5, 1, 1], [8, 32, 32], architecture(kind, kernels, strides, [2, 2, 2]), "ZScoreNormalization", 1
        )
        yield Model(f"{kind}, 5 mm slices of 4 mm ones, 2 folds", {"3d_fullres": thick}, ("3d_fullres",), THREE,
                    ("T1c",), (14, 50, 44), (4.0, 0.8, 0.9), folds=2, transpose=(0, 2, 1))  # fmt: skip
        flat = architecture(kind, [[3, 3]] * 3, [[1, 1], [2, 2], [2, 2]], [2, 2, 2])
        yield Model(f"{kind}, 2d, CT", {"2d": configuration([1, 1], [48, 40], flat, "CTNormalization", 1)}, ("2d",),
                    ONE, ("CT",), (12, 60, 70), (5.0, 0.7, 0.8))  # fmt: skip


def write(model: Model, results: Path, steps: int = 0, teach: Teach | None = None) -> list[Path]:
    """The trained folders, as nnU-Net writes them; ``teach`` trains a network, else blobs do for ``steps``."""
    plans = {
        "dataset_name": "Dataset001_Made", "plans_name": "nnUNetPlans", "configurations": model.configurations,
        "transpose_forward": list(model.transpose), "transpose_backward": np.argsort(model.transpose).tolist(),
        "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(n): SEEN for n in range(len(model.channels))},
    }  # fmt: skip
    names = {str(n): name for n, name in enumerate(model.channels)}
    dataset = {"labels": model.labels, "channel_names": names, "file_ending": ".nii.gz", "numTraining": 1,
               "regions_class_order": [1, 2, 3] if model.labels is REGIONS else None}  # fmt: skip
    folders = []
    for number, name in enumerate(model.stages):
        folder = results / "Dataset001_Made" / f"nnUNetTrainer__nnUNetPlans__{name}"
        folder.mkdir(parents=True)
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        manager = PlansManager(json.loads(json.dumps(plans)))
        it = manager.get_configuration(name)
        channels = determine_num_input_channels(manager, it, dataset)
        outputs = manager.get_label_manager(dataset).num_segmentation_heads
        for fold in range(model.folds):
            torch.manual_seed(10 * number + fold)
            network = get_network_from_plans(
                it.network_arch_class_name, it.network_arch_init_kwargs, it.network_arch_init_kwargs_req_import,
                channels, outputs, deep_supervision=True,
            )  # fmt: skip
            if teach is not None:
                teach(network)
            elif steps:
                _train(network, model, it, outputs, steps, cascaded=number > 0)
            else:
                _shake(network)
            (folder / f"fold_{fold}").mkdir()
            torch.save(
                {"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer",
                 "init_args": {"configuration": name},
                 "inference_allowed_mirroring_axes": tuple(range(len(it.patch_size)))},
                folder / f"fold_{fold}" / "checkpoint_final.pth",
            )  # fmt: skip
        folders.append(folder)
    return folders


def _shake(network: torch.nn.Module) -> None:
    """Weights that are not those of a fresh network, whose norms do nothing and whose last layer says little."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "norm" in name:
                weight.normal_(0.8, 0.3)
            elif "psi" in name:
                weight.normal_(0, 1)  # so that gates open and close
            elif "seg_layers" in name and weight.ndim > 1:
                weight.normal_(0, 1)


def _train(network: torch.nn.Module, model: Model, it: Any, outputs: int, steps: int, *, cascaded: bool) -> None:
    """Teach it which blobs are which label: enough for labels with sharp borders, no more."""
    rng = np.random.default_rng(3)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    window = tuple(it.patch_size)
    for _ in range(steps):
        flat = len(window) == 2
        image, truth = scene(model, (1, *window) if flat else window, rng)
        channels = np.stack([_normal(one, it.normalization_schemes[0]) for one in image])
        if cascaded:
            channels = np.concatenate([channels, [truth == value for value in (1, 2, 3)]]).astype(np.float32)
        inputs = torch.from_numpy(channels[:, 0] if flat else channels)[None]
        target = torch.from_numpy((truth[0] if flat else truth).astype(np.int64))[None]
        logits = network(inputs)[0]
        if model.labels is REGIONS:
            members = [(target > 0), (target == 1) | (target == 3), target == 3]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.stack(members, 1).float())
        else:
            weight = torch.tensor([0.3] + [1.0] * (outputs - 1))
            loss = torch.nn.functional.cross_entropy(logits, target, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _normal(image: np.ndarray[Any, Any], scheme: str) -> np.ndarray[Any, Any]:
    if scheme == "CTNormalization":
        clipped = np.clip(image, SEEN["percentile_00_5"], SEEN["percentile_99_5"])
        return (clipped - SEEN["mean"]) / SEEN["std"]
    return image if scheme == "NoNormalization" else (image - image.mean()) / image.std()


def scene(
    model: Model, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Channels (channel, k, j, i) of smooth noise with blobs, each brightest in its own way, and the blobs' labels."""
    labels = 1 if model.labels is ONE else 3
    truth = np.zeros(shape, dtype=np.uint8)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    for number in range(max(3, int(np.prod(shape)) // 6000)):
        centre = np.array([rng.uniform(0, n) for n in shape])[:, None, None, None]
        stretch = np.array([2.0 if max(shape) > 3 * shape[0] else 1.0, 1, 1])[:, None, None, None]
        truth[(((places - centre) * stretch) ** 2).sum(axis=0) < rng.uniform(2, 6) ** 2] = 1 + number % labels
    channels = []
    for number in range(len(model.channels)):
        smooth = gaussian_filter(rng.normal(size=shape), 1)
        bright = np.array([0, 50, 28, 90 + 10 * number])[truth]
        channels.append(smooth / smooth.std() * 8 + 20 + bright)
    return np.stack(channels).astype(np.float32), truth


def made_image(model: Model) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Channels (channel, k, j, i), empty at the edges where masks are asked for."""
    image, _ = scene(model, model.shape, np.random.default_rng(1))
    if model.masked:
        image[:, :5] = image[:, :, :6] = image[..., :4] = 0
    return image


class Peer:
    """nnUNetPredictor on one stage, and the same in double precision."""

    def __init__(self, folder: Path, *, mirror: bool) -> None:
        self.it = nnUNetPredictor(use_mirroring=mirror, perform_everything_on_device=False, allow_tqdm=False,
                                  device=torch.device("cpu"))  # fmt: skip
        self.it.initialize_from_trained_model_folder(str(folder), None, "checkpoint_final.pth")
        self.mirror = mirror

    def prepare(
        self, image: np.ndarray[Any, Any], spacing: tuple[float, ...], before: np.ndarray[Any, Any] | None
    ) -> Any:
        """What the network is given, and the properties that lead back."""
        it, properties = self.it, {"spacing": list(spacing)}
        prepared = it.configuration_manager.preprocessor_class(verbose=False).run_case_npy(
            image.copy(), before, properties, it.plans_manager, it.configuration_manager, it.dataset_json
        )
        data = prepared[0]
        if before is not None:
            labels = it.label_manager.foreground_labels
            data = np.vstack([data, convert_labelmap_to_one_hot(prepared[1][0], labels, data.dtype)])
        return torch.from_numpy(data), prepared[2]

    def logits(self, data: torch.Tensor) -> np.ndarray[Any, Any]:
        """Mean of all folds: (output, k, j, i)."""
        return self.it.predict_logits_from_preprocessed_data(data).float().numpy()

    def labels(self, logits: np.ndarray[Any, Any], properties: Any) -> np.ndarray[Any, Any]:
        """What nnU-Net makes of logits, on the image's grid: (k, j, i)."""
        it = self.it
        return np.asarray(convert_predicted_logits_to_segmentation_with_correct_shape(
            logits.astype(np.float32), it.plans_manager, it.configuration_manager, it.label_manager, properties
        ))  # fmt: skip

    def exact_logits(self, data: torch.Tensor) -> np.ndarray[Any, Any]:
        """Windows, weights, mirrorings and folds as nnU-Net has them, all in double precision."""
        it, window = self.it, self.it.configuration_manager.patch_size
        padded, inner = pad_nd_image(data.double(), window, "constant", {"value": 0}, True, None)
        delta = np.zeros(window)
        delta[tuple(n // 2 for n in window)] = 1
        bell = torch.from_numpy(gaussian_filter(delta, [n / 8 for n in window], mode="constant"))
        total = torch.zeros((it.label_manager.num_segmentation_heads, *padded.shape[1:]), dtype=torch.double)
        weight = torch.zeros(padded.shape[1:], dtype=torch.double)
        axes = [axis + 2 for axis in it.allowed_mirroring_axes] if self.mirror else []
        sets = [some for n in range(len(axes) + 1) for some in itertools.combinations(axes, n)]
        for parameters in it.list_of_parameters:
            it.network.load_state_dict(parameters)
            it.network.double()
            for place in it._internal_get_sliding_window_slicers(padded.shape[1:]):  # noqa: SLF001  # there is no other
                with torch.no_grad():
                    passes = [torch.flip(it.network(torch.flip(padded[place][None], s)), s) for s in sets]
                total[place] += sum(passes)[0] / len(sets) * bell
                weight[place[1:]] += bell
        it.network.float()
        return (total / weight)[(slice(None), *inner[1:])].numpy()


def compare(model: Model, folder: Path, steps: int) -> str:
    """One line of the table."""
    folders = write(model, folder / "nnUNet_results", steps)
    image = made_image(model)
    before = None
    for trained in folders:
        with contextlib.redirect_stdout(io.StringIO()):
            peer = Peer(trained, mirror=model.mirror)
        data, properties = peer.prepare(image, model.spacing, before)
        theirs = peer.logits(data)
        their_labels = peer.labels(theirs, properties)
        before = their_labels[np.newaxis].astype(np.int8)
    engine = NnunetEngine(
        import_nnunet(folder / "nnUNet_results", folder / "bundle"), mode="thorough" if model.mirror else "fast"
    )
    k, j, i = model.spacing
    grid = Grid(model.shape[::-1], np.diag([i, j, k, 1.0]))
    study = Study("made", {name: Volume(np.ascontiguousarray(channel.transpose(2, 1, 0)), grid)
                           for name, channel in zip(engine.card.sequences, image, strict=True)})  # fmt: skip
    decision = engine.predict(study).decision
    if decision is None:
        raise AssertionError("An nnU-Net model decides by itself.")
    labels = np.asarray(decision.array).transpose(2, 1, 0)
    if len(folders) > 1:
        other = int((labels != their_labels).sum())
        return (f"| {model.name} | – | – | {other} of {labels.size:,} differ from each other | | "
                f"{lowest_dice(labels, their_labels):.4f} with each other | |")  # fmt: skip
    exact = peer.exact_logits(data)
    spacing = [model.spacing[axis] for axis in model.transpose]
    channels = image.transpose(0, *(axis + 1 for axis in model.transpose))
    ours = run_model(engine.model, list(channels), (spacing[0], spacing[1], spacing[2]), engine.running)
    errors = [float(np.sqrt(np.mean((one - exact) ** 2))) for one in (ours.logits, theirs)]
    right = peer.labels(exact, properties)
    wrong = [int((one != right).sum()) for one in (labels, their_labels)]
    mirrored = "mirrored" if model.mirror else "not mirrored"
    dices = [lowest_dice(one, right) for one in (labels, their_labels)]
    return (f"| {model.name}, {mirrored} | {errors[0]:.1e} | {errors[1]:.1e} | {wrong[0]} | {wrong[1]} of "
            f"{right.size:,} | {dices[0]:.4f} | {dices[1]:.4f} |")  # fmt: skip


def lowest_dice(found: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float:
    """Over the labels that either has; NaN where there is none."""
    values = [value for value in np.union1d(np.unique(found), np.unique(right)) if value]
    return min((2 * float(((found == v) & (right == v)).sum()) / float((found == v).sum() + (right == v).sum())
                for v in values), default=float("nan"))  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=0, help="of training; 0 for random weights")
    parser.add_argument("--only", default="", help="models whose names have this in them")
    wanted = parser.parse_args()
    print("| model | logits, metseg | nnUNetPredictor | labels, metseg | nnUNetPredictor | Dice, metseg | "
          "nnUNetPredictor |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for model in (one for one in models() if wanted.only in one.name):
        with tempfile.TemporaryDirectory() as folder:
            print(compare(model, Path(folder), wanted.steps), flush=True)


if __name__ == "__main__":
    main()
