"""Checkpoints are read without torch, and nothing in them is run."""

import zipfile

import numpy as np
import pytest

from metseg.core.errors import ModelError
from metseg.io.torch_file import Inert, read_torch_file
from metseg.io.torch_write import write_torch_file
from torch_files import tensor, write_archive

NUMBERS = np.arange(24, dtype="<f4")


def _write(path, pickled, storages=None, **more):
    return write_archive(path, pickled, {"0": NUMBERS} if storages is None else storages, **more)


def test_a_tensor_is_the_view_of_its_storage(tmp_path):
    found = read_torch_file(_write(tmp_path / "a.pth", tensor((2, 3), (1, 6), offset=4) + b"."))
    assert np.array_equal(found, NUMBERS[[4, 10, 16, 5, 11, 17]].reshape(2, 3))


def test_half_and_brain_floats_whole_numbers_and_truth_values(tmp_path):
    storages = {
        "0": np.array([1.5, -2], "<f2"),
        "1": (np.array([1.5, -2], "<f4").view("<u4") >> 16).astype("<u2"),
        "2": np.array([7, -9], "<i8"),
        "3": np.array([True, False]),
    }
    kinds = ("HalfStorage", "BFloat16Storage", "LongStorage", "BoolStorage")
    tensors = b"".join(tensor((2,), (1,), kind=kind, key=str(n), count=2) for n, kind in enumerate(kinds))
    half, brain, whole, truth = read_torch_file(_write(tmp_path / "a.pth", b"(" + tensors + b"t.", storages))
    assert half.tolist() == brain.tolist() == [1.5, -2]
    assert whole.tolist() == [7, -9]
    assert truth.tolist() == [True, False]


def test_what_nnunet_writes_beside_its_weights_is_read(tmp_path):
    number = "cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f8'\nI00\nI01\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    number += f"c_codecs\nencode\n(V{np.float64(0.625).tobytes().decode('latin1')}\nS'latin1'\ntRtR"
    pickled = f"(dS'score'\n{number}sS'device'\nctorch\ndevice\n(S'cuda'\ntRs."
    found = read_torch_file(_write(tmp_path / "a.pth", pickled.encode("latin1")))
    assert found == {"score": 0.625, "device": Inert("device", ("cuda",))}


@pytest.mark.parametrize("called", ["posix\nsystem", "builtins\neval", "torch\nload", "numpy\nfromfile", "os\npopen"])
def test_whatever_could_run_code_is_refused_by_name(tmp_path, called):
    marker = tmp_path / "ran"
    path = _write(tmp_path / "a.pth", f"c{called}\n(S'touch {marker}'\ntR.")
    with pytest.raises(ModelError, match=called.replace("\n", r"\.")):
        read_torch_file(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((5, 5), (5, 1), 0), ((24,), (1,), 1), ((2,), (24,), 0), ((2,), (-1,), 3), ((9,), (0,), -1), ((10**9,), (0,), 0)],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path, size, stride, offset):
    with pytest.raises(ModelError, match="damaged"):
        read_torch_file(_write(tmp_path / "a.pth", tensor(size, stride, offset=offset) + b"."))


@pytest.mark.parametrize(
    "pickled",
    [
        "", "N", "garbage", tensor((2,), (1,), key="1") + b".", tensor((2,), (1,), count=25) + b".",
        "(I1\nI2\ntQ.", "ccollections\nOrderedDict\n(I1\ntR.", "ctorch._utils\n_rebuild_tensor_v2\n(tR.",
        "cnumpy\ndtype\n(S'O'\ntR.",
    ],
)  # fmt: skip
def test_a_damaged_pickle_is_said_to_be_damaged(tmp_path, pickled):
    with pytest.raises(ModelError, match="damaged"):
        read_torch_file(_write(tmp_path / "a.pth", pickled))


def test_files_that_are_no_checkpoint(tmp_path):
    (tmp_path / "old.pth").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    with pytest.raises(ModelError, match="older than torch 1"):
        read_torch_file(tmp_path / "old.pth")
    whole = _write(tmp_path / "a.pth", tensor((24,), (1,)) + b".").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="damaged"):
        read_torch_file(tmp_path / "cut.pth")
    with pytest.raises(ModelError, match="cannot be read"):
        read_torch_file(tmp_path / "missing.pth")
    with pytest.raises(ModelError, match="byte order"):
        read_torch_file(_write(tmp_path / "big.pth", "N.", order=b"big"))
    with pytest.raises(ModelError, match="more than 10 bytes"):
        read_torch_file(tmp_path / "a.pth", max_bytes=10)


def test_a_file_with_any_bytes_changed_is_read_or_refused(tmp_path):
    whole = _write(tmp_path / "a.pth", b"(" + tensor((2, 3), (3, 1)) + tensor((4,), (2,)) + b"t.").read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=int(rng.integers(1, 4))):
            content[place] = int(rng.integers(256))
        (tmp_path / "b.pth").write_bytes(content)
        try:
            read_torch_file(tmp_path / "b.pth")
        except ModelError:
            refused += 1
    assert refused > 200


def test_many_tensors_of_one_storage_take_no_memory_of_their_own(tmp_path):
    both = tensor((24,), (1,)) + tensor((4, 6), (6, 1))
    first, second = read_torch_file(_write(tmp_path / "a.pth", b"(" + both + b"t."))
    assert np.shares_memory(first, second)
    assert not first.flags.writeable


def test_what_is_written_is_read_again(tmp_path):
    shared = NUMBERS.reshape(2, 12)[:, ::2]  # no storage of its own, and not in one piece
    arrays = {
        "half": np.array([[1.5], [-2]], "<f2"), "whole": np.array([2**40, -9]), "truth": np.array([True, False]),
        "one": np.array(7), "none": np.empty((0, 3), "<f4"), "column": np.asfortranarray(NUMBERS.reshape(4, 6)),
        "a": shared, "b": shared,
    }  # fmt: skip
    content = {
        "weights": arrays,
        "axes": (0, -1, 300),
        "name": "Köpfe\n'1'",
        "yes": True,
        "nothing": None,
        "deep": ((),),
    }
    path = write_torch_file(tmp_path / "a.pth", content)
    found = read_torch_file(path)
    for name, expected in arrays.items():
        assert (found["weights"][name].dtype, found["weights"][name].shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found["weights"][name], expected)
    assert np.shares_memory(found["weights"]["a"], found["weights"]["b"])
    assert {key: value for key, value in found.items() if key != "weights"} == {
        key: value for key, value in content.items() if key != "weights"
    }
    assert write_torch_file(tmp_path / "b.pth", content).read_bytes() == path.read_bytes()


def test_what_no_checkpoint_holds_is_not_written(tmp_path):
    with pytest.raises(TypeError, match="set has no place in a checkpoint"):
        write_torch_file(tmp_path / "a.pth", {"a": {1}})
    with pytest.raises(FileExistsError):
        write_torch_file(_write(tmp_path / "b.pth", "N."), {})


def test_a_file_that_is_packed_is_refused(tmp_path):
    write_torch_file(tmp_path / "a.pth", {"w": np.zeros(1000, dtype=np.float32)})
    with zipfile.ZipFile(tmp_path / "a.pth") as whole, zipfile.ZipFile(tmp_path / "b.pth", "w") as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match=r"b\.pth holds more than its own size of .* bytes"):
        read_torch_file(tmp_path / "b.pth")
