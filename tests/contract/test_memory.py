"""What engines do when a pass does not fit into the memory: smaller tiles, a warning, or one clear sentence."""

import subprocess
import sys

import numpy as np
import pytest

from metseg.config.options import SegmentOptions
from metseg.core.errors import InferenceError
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.bundle_engine import BundleEngine
from metseg.engines.manifest import Tiling
from metseg.engines.memory import OutOfMemoryError
from metseg.engines.nnunet.stage import Stage
from metseg.engines.nnunet.window_network import WindowNetwork
from metseg.engines.openvino_engine import OpenVinoEngine
from metseg.engines.openvino_network import OpenVinoNetwork, Runtime, is_out_of_memory, told_of
from metseg.pipeline.segment import segment
from metseg.testing import check_engine
from nnunet_oracle import make_weights
from tiny_bundle import write_finder, write_tiny_bundle
from unit.test_nnunet_graph import PLAIN

# Predicts a volume with little more memory than it has already, and then with as much as it wants.
LIMITED = """
import resource, sys
import numpy as np
from metseg.core.grid import Grid
from metseg.core.progress import no_progress
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.bundle import read_bundle
from metseg.engines.manifest import Tiling
from metseg.engines.openvino_engine import OpenVinoEngine
from pathlib import Path

folder, more_mb = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)

def ready(engine, n):
    grid = Grid((n, n, n), np.eye(4))
    return engine.prepare(Study("scan", {"t1c": Volume(rng.random((n, n, n)).astype(np.float32), grid)}))

engine = OpenVinoEngine(read_bundle(folder), threads=1, tiling=Tiling(margin=4))
ready(engine, 16)(no_progress)
run = ready(engine, 192)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + more_mb * 2**20, resource.RLIM_INFINITY))
try:
    found = run(no_progress)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(float(np.abs(found.array - run(no_progress).array).max()) < 1e-6, *found.warnings)
except Exception as error:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(type(error).__name__, error)
"""


def limited(tmp_path, more_mb):
    folder = write_tiny_bundle(tmp_path / "tiny").folder
    command = [sys.executable, "-c", LIMITED, str(folder), str(more_mb)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits on memory that hold")
def test_where_memory_really_runs_out_smaller_tiles_give_the_same(tmp_path):
    assert limited(tmp_path, 90) == (
        "True Memory ran out with 192×192×192 voxels at a time, so the network ran over tiles of 96×96×96 voxels: "
        "probabilities may differ slightly from those of larger ones.\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        # The first two are what OpenVINO 2026 said under a limit.
        "Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc\n",
        "Check 'ptr' failed at src/plugins/intel_cpu/src/cpu_memory.cpp:257:\nFailed to allocate 134217728 bytes",
        "Exception from src\\core\\src\\runtime\\allocator.cpp:79:\nbad allocation",
        "could not allocate memory",
        "[GPU] Exceeded max size of memory object allocation: requested 9 bytes",
        "[GPU] CL_OUT_OF_RESOURCES exception.",
    ],
)
def test_what_openvino_says_when_memory_runs_out(text):
    assert is_out_of_memory(RuntimeError(text))
    says = r"^It does not fit into the memory with 4×5×6 voxels\. Use fewer"
    with pytest.raises(OutOfMemoryError, match=says), told_of("It", (4, 5, 6)):
        raise RuntimeError(text)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    for text in ("Failed to allocate aux GPR", "Shape inference failed", "memory descriptor may not be modified"):
        says = r"^It failed on 4×5×6 voxels\."
        with pytest.raises(InferenceError, match=says) as caught, told_of("It", (4, 5, 6)):
            raise RuntimeError(text)
        assert not isinstance(caught.value, OutOfMemoryError)
        assert text in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="ours"), told_of("It", (4, 5, 6)):
        raise ValueError("ours")


class Small:
    """Opens networks that take no more than so many voxels at a time; notes what each met."""

    def __init__(self, engine, most, error):
        self.network, self.most, self.error, self.met = engine._network, most, error, []

    def __call__(self, *_):
        return self

    def infer(self, image):
        self.met.append(image.shape[1:])
        if image[0].size > self.most:
            raise self.error
        return self.network.infer(image)

    def release(self):
        self.network.release()
        self.met.append("released")


@pytest.fixture
def study():
    array = np.random.default_rng(3).normal(100, 20, (40, 36, 24)).astype(np.float32)
    return Study("scan", {"t1c": Volume(array, Grid.isotropic(array.shape))})


@pytest.fixture
def whole(tmp_path):
    return OpenVinoEngine(write_tiny_bundle(tmp_path / "tiny"), threads=1)


def small(whole, most, error, tiling=Tiling(margin=1)):  # noqa: B008  # it is frozen
    opening = Small(whole, most, error)
    engine = BundleEngine(whole.bundle, opening, tiling)
    engine.name = "openvino"
    return engine, opening


@pytest.mark.parametrize("error", [MemoryError(), OutOfMemoryError("No room.", hint="Find room.")])
def test_tiles_become_smaller_until_they_fit_and_the_result_says_so(whole, study, error):
    engine, opening = small(whole, 20 * 20 * 12, error)
    found = check_engine(engine, study)
    assert found.array == pytest.approx(whole.predict(study).array, abs=1e-6)
    assert opening.met[:2] == [(40, 36, 24), (20, 20, 12)]
    assert opening.met[-1] == "released"
    assert opening.met[-2] != "released"
    (warning,) = found.warnings
    assert warning.startswith(
        "Memory ran out with 40×36×24 voxels at a time, so the network ran over tiles of 20×20×12"
    )
    assert warning in segment(study, engine, SegmentOptions()).provenance.warnings
    assert whole.predict(study).warnings == ()


def test_each_study_begins_anew_with_the_largest(whole, study):
    engine, opening = small(whole, 20 * 20 * 12, MemoryError())
    first = engine.predict(study)
    del opening.met[:]
    assert engine.predict(study).warnings == first.warnings
    assert opening.met[0] == (40, 36, 24)


def test_where_nothing_smaller_is_left_one_sentence_says_what_was_tried(whole, study):
    engine, opening = small(whole, 1, OutOfMemoryError("No room.", hint="Find room."), Tiling(margin=4))
    with pytest.raises(OutOfMemoryError) as caught:
        engine.predict(study)
    assert str(caught.value) == (
        "The network of tiny does not fit into the memory, not even with 12×12×12 voxels at a time; tried were "
        "40×36×24, 20×20×12, 12×12×12. Find room."
    )
    assert len(opening.met) == 4
    assert opening.met[3] == "released"


def test_other_failures_are_not_tried_again(whole, study):
    engine, opening = small(whole, 1, InferenceError("It is broken."))
    with pytest.raises(InferenceError, match="It is broken"):
        engine.predict(study)
    assert len(opening.met) == 2


def test_openvinos_failures_are_told_in_the_same_way_by_all_networks(tmp_path):
    write_finder(tmp_path / "brain.onnx", 1, 0)
    runtime = Runtime.on("cpu", 1, None)
    own = OpenVinoNetwork(tmp_path / "brain.onnx", 1, 1, runtime, "tiny")
    window = (8, 16, 16)
    stage = Stage.model_construct(name="3d_fullres", network=PLAIN, window=window)
    of_nnunet = WindowNetwork(stage, make_weights(PLAIN), runtime)

    class Full:
        def infer(self, _):
            raise RuntimeError("std::bad_alloc")

    own._request, of_nnunet._request = ((1, 1, *window), Full()), Full()
    with pytest.raises(OutOfMemoryError, match="The network of tiny does not fit into the memory with 8×16×16 voxels"):
        own.infer(np.zeros((1, *window), dtype=np.float32))
    with pytest.raises(OutOfMemoryError, match="network of stage 3d_fullres does not fit into the memory with 8×16×16"):
        of_nnunet.logits(np.zeros((2, *window), dtype=np.float32))
