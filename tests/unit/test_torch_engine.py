"""The torch engine against OpenVINO and against double precision, and what it does when memory runs out."""

import threading
import warnings
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the torch extra)")

from metseg.core.errors import ConfigError, InferenceError, ModelError  # noqa: E402
from metseg.engines.nnunet.cascade import Running, run_model  # noqa: E402
from metseg.engines.nnunet.predictor import HostSums, Passes, predict_logits  # noqa: E402
from metseg.engines.nnunet.prepare import Normalisation  # noqa: E402
from metseg.engines.nnunet.stage import NnunetModel  # noqa: E402
from metseg.engines.nnunet.window_network import OpenVinoPredictor  # noqa: E402
from metseg.engines.openvino_network import Runtime  # noqa: E402
from metseg.engines.torch.device import find_device, is_out_of_memory, predicting  # noqa: E402
from metseg.engines.torch.predictor import TorchPredictor  # noqa: E402
from metseg.engines.torch.unet import build_unet  # noqa: E402
from nnunet_oracle import Oracle, folds_of, make_weights, with_running_statistics  # noqa: E402
from unit.test_nnunet_graph import (  # noqa: E402
    AVERAGED,
    FOREIGN,
    KINDS,
    PLAIN,
    RESIDUAL,
    cascade,
    expected_logits,
    image,
    stage_of,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runtime():
    return Runtime.on("cpu", 1, None)


def torch_logits(network, weights, images):
    with predicting(1):
        return build_unet(network, weights)(torch.from_numpy(images)).numpy()


@KINDS
def test_a_network_is_that_of_double_precision(network, window):
    weights = make_weights(network)
    images = np.stack([image(network.channels, window, seed) for seed in (1, 2)])
    found = torch_logits(network, weights, images)
    for one, logits in zip(images, found, strict=True):
        np.testing.assert_allclose(logits, Oracle(network, weights)(one), atol=1e-5)


@KINDS
@pytest.mark.parametrize("batch", [False, True], ids=["instance", "batch norm"])
def test_a_network_is_that_of_openvino(network, window, batch, runtime):
    weights = with_running_statistics(make_weights(network)) if batch else make_weights(network)
    if batch:  # and convolutions without a bias
        biased = [name for name in weights if "conv" in name and name.endswith(".bias") and ".norm." not in name]
        weights = {name: w for name, w in weights.items() if name not in biased}
    channels = image(network.channels, window if len(window) == 3 else (1, *window))
    expected = OpenVinoPredictor(runtime)(stage_of(network, window), folds_of([weights]), channels, passes=Passes())
    found = TorchPredictor(CPU)(stage_of(network, window), folds_of([weights]), channels)
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-5)


@FOREIGN
def test_weights_of_another_network_are_refused(network, window, change, message):
    weights = make_weights(network)
    change(weights)
    with pytest.raises(ModelError, match=message):
        build_unet(network, weights)


def test_weights_of_the_same_layers_under_other_names_do_not_matter():
    weights = make_weights(PLAIN)
    twice = {f"decoder.encoder.{n.removeprefix('encoder.')}": w for n, w in weights.items() if n.startswith("encoder")}
    images = image(2, (6, 12, 8))[np.newaxis]
    assert np.array_equal(torch_logits(PLAIN, {**weights, **twice}, images), torch_logits(PLAIN, weights, images))


@pytest.mark.parametrize("at_once", [1, 5, 64])
@AVERAGED
def test_windows_mirrorings_and_folds_are_averaged(network, window, shape, mirror, folds, at_once):
    weights = [make_weights(network, seed) for seed in range(folds)]
    stage = stage_of(network, window, mirror).model_copy(update={"weights": tuple(map(str, range(folds)))})
    channels, predict = image(network.channels, shape), TorchPredictor(CPU, threads=1, at_once=at_once)
    found = predict(stage, folds_of(weights), channels)
    np.testing.assert_allclose(found, expected_logits(network, weights, channels, window, mirror), atol=1e-5)
    assert np.array_equal(predict(stage, folds_of(weights), channels), found)
    if mirror:
        plain = predict(stage, folds_of(weights), channels, passes=Passes("none"))
        np.testing.assert_allclose(plain, expected_logits(network, weights, channels, window, ()), atol=1e-5)


def test_an_image_smaller_than_a_window_is_padded_with_zeros():
    weights, channels = make_weights(RESIDUAL), image(1, (5, 8, 7))
    found = TorchPredictor(CPU)(stage_of(RESIDUAL, (6, 8, 8)), folds_of([weights]), channels)
    padded = np.pad(channels, [(0, 0), (0, 1), (0, 0), (0, 1)])
    np.testing.assert_allclose(found, Oracle(RESIDUAL, weights)(padded)[:, :5, :, :7], atol=1e-5)


def anisotropic(regions):
    """Slices of 5 mm for a network that wants 1.5 mm, two labels or two regions."""
    network = RESIDUAL.model_copy(update={"outputs": 2 if regions else 3})
    stage = stage_of(network, (6, 8, 8), (0, 1, 2)).model_copy(
        update={"spacing_mm": (1.5, 1.0, 1.0), "normalisation": (Normalisation(scheme="zscore"),)}
    )
    labels = (1, 2) if regions else (0, 1, 2)
    return NnunetModel(stages=(stage,), labels=labels, regions=regions, foreground=(1, 2))


@pytest.mark.parametrize("mirroring", ["all", "gated", "none"])
@pytest.mark.parametrize("kind", ["labels", "regions", "cascade"])
def test_labels_are_those_of_openvino(kind, mirroring, runtime):
    model = cascade(PLAIN) if kind == "cascade" else anisotropic(kind == "regions")
    folds = {number: make_weights(stage.network, number + 3) for number, stage in enumerate(model.stages)}
    channels = np.zeros((len(model.stages[0].normalisation), 7, 18, 20), dtype=np.float32)
    channels[:, 1:6, 2:17, 1:18] = image(len(channels), (5, 15, 17), seed=3)
    spacing = (1.0, 1.0, 1.0) if kind == "cascade" else (5.0, 0.8, 0.9)
    outcomes = [
        run_model(
            model,
            list(channels),
            spacing,
            Running(predict, lambda stage: folds_of([folds[model.stages.index(stage)]]), Passes(mirroring)),
        )
        for predict in (OpenVinoPredictor(runtime), TorchPredictor(CPU, at_once=3))
    ]
    expected, found = outcomes
    assert found.box == expected.box
    assert len(np.unique(expected.labels)) == 3
    np.testing.assert_allclose(found.member.logits, expected.member.logits, atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_progress_runs_to_the_end_and_nothing_infinite_comes_out():
    told, weights = [], make_weights(RESIDUAL)
    stage = stage_of(RESIDUAL, (6, 8, 8)).model_copy(update={"weights": ("a", "b")})
    predict = TorchPredictor(CPU)
    predict(stage, folds_of([weights] * 2), image(1, (9, 8, 8)), progress=lambda *it: told.append(it))
    assert [done / total for done, total, _ in told] == [0, 0.25, 0.5, 0.75]
    weights["decoder.seg_layers.1.bias"] = np.array([np.inf, 0], dtype=np.float32)
    with pytest.raises(InferenceError, match="3d_fullres gave values that are not finite"):
        predict(stage_of(RESIDUAL, (6, 8, 8)), folds_of([weights]), image(1, (6, 8, 8)))


class Narrow(torch.nn.Module):
    """A network that runs out of memory with more than ``fits`` windows, and the first ``fails`` times anyway."""

    def __init__(self, arguments, weights, met, fits, fails=0, error=torch.OutOfMemoryError):
        super().__init__()
        self.network, self.met, self.fits, self.fails, self.error = (
            build_unet(arguments, weights), met, fits, fails, error
        )  # fmt: skip

    def forward(self, images):
        self.met.append(len(images))
        if len(images) > self.fits or len(self.met) <= self.fails:
            raise self.error("no room")
        return self.network(images)


def narrow(at_once, **how):
    """A predictor with such a network, and the sizes of the batches that it met."""
    met = []
    return TorchPredictor(CPU, at_once=at_once, build=partial(Narrow, met=met, **how)), met


MIRRORED = stage_of(RESIDUAL, (6, 8, 8), (0, 2))  # 4 copies of each of 4 windows
LARGE = image(1, (8, 10, 8))


def test_batches_become_smaller_until_they_fit():
    predict, met = narrow(12, fits=3)
    found = predict(MIRRORED, folds_of([make_weights(RESIDUAL)]), LARGE)
    np.testing.assert_allclose(
        found, TorchPredictor(CPU)(MIRRORED, folds_of([make_weights(RESIDUAL)]), LARGE), atol=1e-5
    )
    assert met == [12, 6, 3, 3, 3, 3, 3, 1]


def test_the_sums_move_to_the_host_when_one_window_does_not_fit():
    predict, met = narrow(2, fits=2, fails=2)
    found = predict(MIRRORED, folds_of([make_weights(RESIDUAL)]), LARGE)
    np.testing.assert_allclose(
        found, TorchPredictor(CPU)(MIRRORED, folds_of([make_weights(RESIDUAL)]), LARGE), atol=1e-5
    )
    assert met == [2, 1] + [1] * 16


def test_a_window_that_never_fits_is_one_clear_sentence():
    predict, met = narrow(4, fits=0)
    with pytest.raises(InferenceError, match="window of 6×8×8 voxels does not fit into the memory of cpu") as caught:
        predict(MIRRORED, folds_of([make_weights(RESIDUAL)]), LARGE)
    assert caught.value.hint == "Use a machine with more memory."
    assert met == [4, 2, 1, 1]


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError])
def test_other_errors_are_not_taken_for_a_lack_of_memory(error):
    predict, met = narrow(4, fits=0, error=error)
    with pytest.raises(error, match="no room"):
        predict(MIRRORED, folds_of([make_weights(RESIDUAL)]), LARGE)
    assert met == [4]


def test_what_torch_says_when_memory_runs_out():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert not is_out_of_memory(caught.value)


def test_a_device_that_is_not_there_is_named_with_those_that_are():
    assert find_device("CPU") == CPU
    for absent in ("gpu", "cuda:99", "quantum"):
        with pytest.raises(ConfigError, match=f"torch finds no device '{absent}'") as caught:
            find_device(absent)
        assert caught.value.hint.startswith("Use one of cpu")


def test_settings_hold_while_an_engine_predicts_and_no_longer():
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.is_grad_enabled()
    with warnings.catch_warnings(), predicting(1):
        warnings.simplefilter("error")
        assert (torch.get_num_threads(), torch.backends.cudnn.deterministic) == (1, True)
        assert torch.is_inference_mode_enabled()
    assert (torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.is_grad_enabled()) == before


def test_two_threads_do_not_take_each_others_settings():
    inside, may_leave, seen = threading.Event(), threading.Event(), []

    def first():
        with predicting(1):
            inside.set()
            may_leave.wait(30)
            seen.append(torch.backends.cudnn.deterministic)

    def second():
        inside.wait(30)
        with predicting(1):
            seen.append(torch.backends.cudnn.deterministic)

    before = torch.backends.cudnn.deterministic
    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    inside.wait(30)
    threads[1].join(0.3)  # it must wait for the first
    waited = threads[1].is_alive()
    may_leave.set()
    for thread in threads:
        thread.join(30)
    assert (waited, seen, torch.backends.cudnn.deterministic) == (True, [True, True], before)


class Lopsided(torch.nn.Module):
    """As in test_nnunet_passes: foreground as sure as the image is bright, more so to its upper end."""

    def __init__(self, met):
        super().__init__()
        self.met = met

    def forward(self, images):
        self.met.append(len(images))
        slope = torch.linspace(0.5, 1.5, images.shape[2]).reshape(1, 1, -1, 1, 1)
        return torch.cat([torch.zeros_like(images), images * slope], 1)


def test_only_windows_that_see_a_doubt_are_mirrored():
    met, channels = [], np.full((1, 6, 8, 24), -20, dtype=np.float32)
    channels[0, 3, 4, 20] = 1
    stage = stage_of(RESIDUAL, (6, 8, 8), (0, 2))
    predict = TorchPredictor(CPU, at_once=1, build=lambda *_: Lopsided(met))
    found = predict(stage, folds_of([{}]), channels, passes=Passes("gated"))
    assert len(met) == 5 + 1
    network = Lopsided([])

    def host(image):
        return network(torch.from_numpy(image.copy())[None])[0].numpy()

    expected = predict_logits(
        stage, channels, lambda padded: HostSums(stage, padded, [lambda: host]), passes=Passes("gated")
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("mirroring", ["none", "gated"])
def test_known_lesions_are_looked_at_again_as_by_openvino(mirroring, runtime):
    weights, channels = [make_weights(RESIDUAL, seed) for seed in (0, 1)], image(1, (7, 20, 9))
    stage = stage_of(RESIDUAL, (6, 8, 8), (0, 2)).model_copy(update={"weights": ("0", "1")})
    known = np.zeros(channels.shape[1:], dtype=bool)
    known[2, 17, 4] = True
    how = {"passes": Passes(mirroring), "known": known}
    found = TorchPredictor(CPU, threads=1, at_once=3)(stage, folds_of(weights), channels, **how)
    np.testing.assert_allclose(found, OpenVinoPredictor(runtime)(stage, folds_of(weights), channels, **how), atol=1e-5)
    plain = TorchPredictor(CPU, threads=1)(stage, folds_of(weights), channels, passes=Passes("none"))
    assert np.abs(found - plain)[:, :, 14:].max() > 0.01
    if mirroring == "none":
        np.testing.assert_allclose(found[:, :, :8], plain[:, :, :8], atol=1e-5)
