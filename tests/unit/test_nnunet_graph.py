"""The networks' graphs, and windows over a whole image, against double precision."""

import numpy as np
import pytest

from metseg.core.errors import InferenceError, ModelError
from metseg.engines.mirroring import mirrorings
from metseg.engines.nnunet.cascade import Running, run_model
from metseg.engines.nnunet.predictor import HostSums, Passes, predict_logits
from metseg.engines.nnunet.prepare import Normalisation
from metseg.engines.nnunet.stage import NnunetModel, Stage
from metseg.engines.nnunet.unet_arguments import UNetArguments
from metseg.engines.nnunet.unet_weights import once, under_all_names
from metseg.engines.nnunet.window_network import OpenVinoPredictor, WindowNetwork
from metseg.engines.nnunet.windows import importance, windows
from metseg.engines.openvino_network import Runtime
from nnunet_oracle import Oracle, folds_of, make_weights, with_running_statistics

PLAIN = UNetArguments(
    channels=2, outputs=3, encoder="plain", features=(4, 6, 5), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)), depth=(2, 1, 2), decoder_depth=(1, 2),
)  # fmt: skip
RESIDUAL = UNetArguments(
    channels=1, outputs=2, encoder="residual", features=(4, 6, 6), kernels=((3, 3, 3),) * 3,
    strides=((1, 1, 1), (2, 2, 2), (1, 2, 2)), depth=(1, 2, 2), decoder_depth=(1, 1),
)  # fmt: skip
FLAT = UNetArguments(
    channels=1, outputs=2, encoder="plain", features=(4, 6), kernels=((3, 3), (3, 3)), strides=((1, 1), (2, 2)),
    depth=(2, 2), decoder_depth=(2,),
)  # fmt: skip
NESTED = UNetArguments(
    channels=2, outputs=3, encoder="plain", decoder="nested", features=(4, 6, 5, 3),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 1, 3)), strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (3, 1, 2)),
    depth=(1, 2, 1, 1), decoder_depth=(1, 1, 2),
)  # fmt: skip
GATED = NESTED.model_copy(update={"decoder": "attention"})
FLAT_NESTED = UNetArguments(
    channels=1, outputs=2, encoder="plain", decoder="nested", features=(4, 6, 5), kernels=((3, 3),) * 3,
    strides=((1, 1), (2, 2), (1, 2)), depth=(2, 1, 1), decoder_depth=(2, 1),
)  # fmt: skip
FLAT_GATED = FLAT_NESTED.model_copy(update={"decoder": "attention"})

# Every engine must pass these.
KINDS = pytest.mark.parametrize(
    ("network", "window"),
    [
        (PLAIN, (6, 12, 8)), (RESIDUAL, (6, 8, 12)), (FLAT, (10, 12)), (NESTED, (6, 12, 16)), (GATED, (6, 12, 16)),
        (FLAT_NESTED, (10, 12)), (FLAT_GATED, (10, 12)),
    ],
    ids=["3d", "residual", "2d", "nested", "attention", "nested 2d", "attention 2d"],
)  # fmt: skip
FOREIGN = pytest.mark.parametrize(
    ("network", "window", "change", "message"),
    [
        (
            PLAIN, (6, 12, 8), lambda w: w.pop("encoder.stages.1.0.convs.0.norm.bias"),
            "lacks the weight encoder.stages.1.0.convs.0.norm",
        ),
        (
            PLAIN, (6, 12, 8), lambda w: w.update({"encoder.stages.3.0.convs.0.conv.weight": np.zeros(3)}),
            "1 weights .* no place",
        ),
        (
            PLAIN, (6, 12, 8), lambda w: w.update({"decoder.seg_layers.1.bias": np.zeros(4)}),
            r"decoder.seg_layers.1.bias has shape \(4,\), but its plan asks for \(3,\)",
        ),
        (
            FLAT_NESTED, (10, 12), lambda w: w.pop("decoder.stages.1.0.convs.0.conv.weight"),
            "lacks the weight decoder.stages.1.0.convs.0.conv.weight",
        ),
        (
            FLAT_NESTED, (10, 12), lambda w: w.update({"decoder.transpconvs.1.2.bias": np.zeros(4)}),
            "1 weights .* no place in it, decoder.transpconvs.1.2.bias for one",
        ),
        (
            FLAT_NESTED, (10, 12), lambda w: w.update({"decoder.transpconvs.1.1.weight": np.zeros((6, 4, 1, 2))}),
            r"transpconvs.1.1.weight has shape \(6, 4, 1, 2\), but its plan asks for \(6, 4, 2, 2\)",
        ),
        (
            FLAT_GATED, (10, 12), lambda w: w.pop("decoder.gates.0.psi.weight"),
            "lacks the weight decoder.gates.0.psi.weight",
        ),
        (
            FLAT_GATED, (10, 12), lambda w: w.update({"decoder.gates.2.phi.bias": np.zeros(4)}),
            "1 weights .* no place in it, decoder.gates.2.phi.bias for one",
        ),
        (
            FLAT_GATED, (10, 12), lambda w: w.update({"decoder.gates.0.theta.weight": np.zeros((6, 6, 2, 2))}),
            r"theta.weight has shape \(6, 6, 2, 2\), but its plan asks for \(6, 6, 1, 2\)",
        ),
    ],
)  # fmt: skip
AVERAGED = pytest.mark.parametrize(
    ("network", "window", "shape", "mirror", "folds"),
    [
        (RESIDUAL, (6, 8, 8), (8, 10, 8), (0, 2), 1),
        (PLAIN, (4, 8, 8), (6, 8, 12), (), 2),
        (FLAT, (8, 8), (3, 8, 10), (0, 1), 1),
    ],
    ids=["mirrored", "two folds", "2d"],
)


@pytest.fixture(scope="module")
def runtime():
    return Runtime.on("cpu", 1, None)


def stage_of(network, window, mirror=(), **more):
    plain = Normalisation(scheme="none")
    return Stage(
        name="3d_fullres", weights=("fold_0.safetensors",), network=network, spacing_mm=(1.0,) * len(window),
        window=window, normalisation=(plain,) * network.channels, mirror_axes=mirror, **more,
    )  # fmt: skip


def run(stage, weights, channels, runtime, **how):
    return OpenVinoPredictor(runtime)(stage, folds_of(weights), channels, **how)


def image(channels, shape, seed=1):
    return np.random.default_rng(seed).normal(0, 1, (channels, *shape)).astype(np.float32)


@KINDS
def test_a_graph_is_the_network(network, window, runtime):
    weights = make_weights(network)
    found = WindowNetwork(stage_of(network, window), weights, runtime).logits(image(network.channels, window))
    expected = Oracle(network, weights)(image(network.channels, window))
    assert found.shape == expected.shape == (network.outputs, *window)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "window"),
    [(RESIDUAL, (6, 8, 12)), (FLAT, (10, 12)), (NESTED, (6, 12, 16)), (GATED, (6, 12, 16))],
    ids=["residual", "2d", "nested", "attention"],
)
def test_batch_normalisation_is_by_the_statistics_of_training(network, window, runtime):
    weights = with_running_statistics(make_weights(network))
    found = WindowNetwork(stage_of(network, window), weights, runtime).logits(image(network.channels, window))
    np.testing.assert_allclose(found, Oracle(network, weights)(image(network.channels, window)), atol=1e-5)


def test_weights_have_the_names_that_torch_gives_them():
    weights = with_running_statistics(make_weights(RESIDUAL))
    named = under_all_names(weights, dropout=False)
    first = "encoder.stages.1.blocks.0.conv1"
    assert {name for name, w in named.items() if w is weights[f"{first}.norm.running_mean"]} == {
        f"{first}.norm.running_mean", f"{first}.all_modules.1.running_mean",
        f"decoder.{first}.norm.running_mean", f"decoder.{first}.all_modules.1.running_mean",
    }  # fmt: skip
    last = "decoder.stages.0.convs.0"
    assert {name for name, w in named.items() if w is weights[f"{last}.conv.bias"]} == {
        f"{last}.conv.bias", f"{last}.all_modules.0.bias",
    }  # fmt: skip
    assert [name for name, w in named.items() if w is weights["decoder.seg_layers.0.weight"]] == [
        "decoder.seg_layers.0.weight"
    ]
    assert f"{last}.all_modules.2.weight" in under_all_names(weights, dropout=True)
    assert once(named) == weights


def test_weights_of_the_same_layers_under_other_names_do_not_matter(runtime):
    weights = make_weights(PLAIN)
    twice = {f"decoder.encoder.{n.removeprefix('encoder.')}": w for n, w in weights.items() if n.startswith("encoder")}
    found = WindowNetwork(stage_of(PLAIN, (6, 12, 8)), {**weights, **twice}, runtime).logits(image(2, (6, 12, 8)))
    np.testing.assert_allclose(found, Oracle(PLAIN, weights)(image(2, (6, 12, 8))), atol=1e-5)


@FOREIGN
def test_weights_of_another_network_are_refused(network, window, change, message, runtime):
    weights = make_weights(network)
    change(weights)
    with pytest.raises(ModelError, match=message):
        WindowNetwork(stage_of(network, window), weights, runtime)


def expected_logits(network, folds, padded, window, mirror):
    """The weighted mean over windows, mirrorings and folds, in double precision."""
    bell = importance(window).astype(np.float64)
    total, weight = np.zeros((network.outputs, *padded.shape[1:])), np.zeros(padded.shape[1:])
    for place in windows(padded.shape[1:], window):
        part = padded[(slice(None), *place)]
        flat = part[:, 0] if len(window) == 2 else part
        for weights in folds:
            for axes in mirrorings(mirror):
                some = tuple(axis + 1 for axis in axes)
                logits = np.flip(Oracle(network, weights)(np.flip(flat, some)), some)
                logits = logits[:, np.newaxis] if len(window) == 2 else logits
                total[(slice(None), *place)] += logits * bell
                weight[place] += bell
    return total / weight


@AVERAGED
def test_windows_mirrorings_and_folds_are_averaged(network, window, shape, mirror, folds, runtime):
    weights = [make_weights(network, seed) for seed in range(folds)]
    stage = stage_of(network, window, mirror).model_copy(update={"weights": tuple(map(str, range(folds)))})
    channels = image(network.channels, shape)
    found = run(stage, weights, channels, runtime)
    np.testing.assert_allclose(found, expected_logits(network, weights, channels, window, mirror), atol=1e-5)
    if mirror:
        plain = run(stage, weights, channels, runtime, passes=Passes("none"))
        np.testing.assert_allclose(plain, expected_logits(network, weights, channels, window, ()), atol=1e-5)


def test_an_image_smaller_than_a_window_is_padded_with_zeros(runtime):
    weights = make_weights(RESIDUAL)
    channels = image(1, (5, 8, 7))
    stage = stage_of(RESIDUAL, (6, 8, 8))
    found = run(stage, [weights], channels, runtime)
    padded = np.pad(channels, [(0, 0), (0, 1), (0, 0), (0, 1)])
    np.testing.assert_allclose(found, Oracle(RESIDUAL, weights)(padded)[:, :5, :, :7], atol=1e-5)


def test_progress_runs_to_the_end_and_nothing_infinite_comes_out(runtime):
    told = []
    weights = make_weights(RESIDUAL)
    stage = stage_of(RESIDUAL, (6, 8, 8)).model_copy(update={"weights": ("a", "b")})
    run(stage, [weights] * 2, image(1, (9, 8, 8)), runtime, progress=lambda *it: told.append(it))
    assert [done / total for done, total, _ in told] == [0, 0.25, 0.5, 0.75]
    weights["decoder.seg_layers.1.bias"] = np.array([np.inf, 0], dtype=np.float32)
    with pytest.raises(InferenceError, match="3d_fullres gave values that are not finite"):
        run(stage, [weights] * 2, image(1, (6, 8, 8)), runtime)


def cascade(network):
    """Two stages: coarse, and fine with two more channels for the labels of the coarse one."""
    fine = network.model_copy(update={"channels": network.channels + 2})
    coarse = stage_of(network, (4, 8, 8)).model_copy(update={"spacing_mm": (2.0, 2.0, 2.0), "name": "3d_lowres"})
    schemes = coarse.normalisation
    return NnunetModel(
        stages=(coarse, stage_of(fine, (4, 8, 8)).model_copy(update={"normalisation": schemes})),
        labels=(0, 1, 2), foreground=(1, 2),
    )  # fmt: skip


def test_the_second_stage_sees_the_labels_of_the_first(runtime):
    model = cascade(PLAIN)
    first, second = make_weights(PLAIN, 1), make_weights(model.stages[1].network, 2)
    channels = np.zeros((2, 8, 18, 20), dtype=np.float32)
    channels[:, 1:7, 2:17, 1:18] = image(2, (6, 15, 17), seed=3)
    of = {"3d_lowres": folds_of([first]), "3d_fullres": folds_of([second])}
    running = Running(OpenVinoPredictor(runtime), lambda stage: of[stage.name])
    found = run_model(model, list(channels), (1.0, 1.0, 1.0), running)
    coarse = NnunetModel(stages=model.stages[:1], labels=(0, 1, 2), foreground=(1, 2))
    before = run_model(coarse, list(channels), (1.0, 1.0, 1.0), running)
    assert found.box == before.box == (slice(1, 7), slice(2, 17), slice(1, 18))
    assert set(np.unique(before.labels[before.box])) >= {1, 2}
    handed_on = np.stack([before.labels[before.box] == value for value in (1, 2)])
    inside = np.concatenate([channels[(slice(None), *found.box)], handed_on.astype(np.float32)])
    logits = run(model.stages[1], [second], inside, runtime)
    np.testing.assert_allclose(found.member.logits, logits, atol=1e-5)
    expected = np.zeros(channels.shape[1:], dtype=np.uint8)
    expected[found.box] = logits.argmax(axis=0)
    np.testing.assert_array_equal(found.labels, expected)


def test_each_channel_has_its_own_normalisation():
    seen = []

    def network(image):
        seen.append(image.copy())
        return np.zeros((3, *image.shape[1:]), dtype=np.float32)

    schemes = (Normalisation(scheme="zscore"), Normalisation(scheme="rescale"))
    stage = stage_of(PLAIN, (6, 12, 8)).model_copy(update={"normalisation": schemes})
    channels = image(2, (6, 12, 8))
    model = NnunetModel(stages=(stage,), labels=(0, 1, 2), foreground=(1, 2))

    def predict(stage, folds, channels, **how):
        return predict_logits(stage, channels, lambda padded: HostSums(stage, padded, [lambda: network]), **how)

    run_model(model, list(channels), (1.0, 1.0, 1.0), Running(predict, lambda _: folds_of([{}])))
    (only,) = seen
    np.testing.assert_allclose(only[0], (channels[0] - channels[0].mean()) / channels[0].std(), atol=1e-5)
    low, high = channels[1].min(), channels[1].max()
    np.testing.assert_allclose(only[1], (channels[1] - low) / (high - low), atol=1e-6)


def test_stages_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="takes 2 channels, but gets 1 images and 0 labels"):
        NnunetModel(
            stages=(stage_of(PLAIN, (4, 8, 8)).model_copy(update={"normalisation": (Normalisation(scheme="none"),)}),),
            labels=(0, 1, 2), foreground=(1, 2),
        )  # fmt: skip
    with pytest.raises(ValueError, match="has 3 outputs for 2 labels"):
        NnunetModel(stages=(stage_of(PLAIN, (4, 8, 8)),), labels=(0, 1), foreground=(1,))
    with pytest.raises(ValueError, match="different numbers of axes"):
        stage_of(PLAIN, (8, 8))
    with pytest.raises(ValueError, match="an axis that the network's input does not have"):
        stage_of(FLAT, (8, 8), mirror=(2,))
