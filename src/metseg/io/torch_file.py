"""Read what ``torch.save`` wrote, without torch and without running anything that is in it.

A ``.pth`` file is a zip: ``data.pkl``, a pickle of the object in which each tensor stands as a view of a storage, and
``data/<key>``, the raw numbers of each storage (torch/serialization.py). Unpickling calls whatever the file names, so
only names on a list are let in here: containers, tensors, and numbers of numpy. Everything else is refused by name.
"""

import io
import math
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import ModelError

_LARGEST_PICKLE: Final = 64 << 20
STORAGES: Final[Mapping[str, str]] = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "?",
}  # fmt: skip
# What unpickling raises of bytes that are no pickle, or not one of torch.
_DAMAGE: Final = (
    zipfile.BadZipFile, pickle.UnpicklingError, struct.error, zlib.error, ArithmeticError, AttributeError, EOFError,
    ImportError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class Inert:
    """What a file names that needs no meaning here, a device for example: its name and its arguments."""

    name: str
    arguments: tuple[Any, ...]


def read_torch_file(path: Path, *, max_bytes: int = 8 << 30) -> Any:
    """The object in a ``.pth`` file: containers, numbers and text as they are, tensors as arrays of numpy.

    Args:
        path: of the file.
        max_bytes: of all tensors together.

    Raises:
        ModelError: not a file of ``torch.save`` since torch 1.6; damaged; too large; or it names anything that a
            checkpoint of weights does not need.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Checkpoint(archive, path.name, path.stat().st_size, max_bytes).load()
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}.") from error
    except _DAMAGE as error:
        raise ModelError(
            f"{path.name} is no checkpoint that can be read: it is damaged, or older than torch 1.6.",
            hint="Copy it again; a file of an old torch can be saved anew with a later one.",
        ) from error


class _Checkpoint:
    """One archive while it is read."""

    def __init__(self, archive: zipfile.ZipFile, name: str, size: int, max_bytes: int) -> None:
        self.archive = archive
        self.name = name
        self.entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [entry for entry in self.entries if entry.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise zipfile.BadZipFile
        self.pickle = pickles[0]
        self.folder = self.pickle.removesuffix("data.pkl")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()) or self._bytes() > size:
            raise ModelError(
                f"{name} holds more than its own size of {size:,} bytes: torch never packs what it saves.",
                hint="It is not as torch wrote it; save it anew, or ask where it comes from.",
            )
        if self._bytes() > max_bytes:
            raise ModelError(f"{name} would unpack to more than {max_bytes:,} bytes.", hint="Is it a checkpoint?")
        if self.entries[self.pickle].file_size > _LARGEST_PICKLE:
            raise ModelError(f"{name} holds {self.entries[self.pickle].file_size:,} bytes beside its tensors.")
        order = self.entries.get(f"{self.folder}byteorder")
        if order is not None and archive.read(order) != b"little":
            raise ModelError(f"{name} was written on a machine of other byte order.")
        self.storages: dict[str, NDArray[Any]] = {}

    def load(self) -> Any:
        return _Unpickler(self).load()

    def _bytes(self) -> int:
        return sum(entry.file_size for entry in self.archive.infolist())

    def storage(self, kind: str, key: str, count: int) -> NDArray[Any]:
        """The numbers of one storage, read once."""
        if key not in self.storages:
            dtype = np.dtype("<u2" if kind == "bfloat16" else kind)
            content = self.archive.read(f"{self.folder}data/{key}")
            if len(content) < count * dtype.itemsize:
                raise zipfile.BadZipFile
            numbers = np.frombuffer(content, dtype, count)
            if kind == "bfloat16":
                numbers = (numbers.astype("<u4") << 16).view("<f4")
            self.storages[key] = numbers
        return self.storages[key]


class _StorageKind(str):
    """Type of a storage, as numpy spells it."""

    __slots__ = ()


class _Unpickler(pickle.Unpickler):
    """Lets in what stands in ``_allowed``, and nothing else."""

    def __init__(self, checkpoint: _Checkpoint) -> None:
        super().__init__(io.BytesIO(checkpoint.archive.read(checkpoint.pickle)))
        self.checkpoint = checkpoint

    def find_class(self, module: str, name: str) -> Any:
        found = _allowed(module, name)
        if found is None:
            raise ModelError(
                f"{self.checkpoint.name} names {module}.{name}, which no checkpoint of weights needs.",
                hint="It may be made to run code on your machine. Do not open it with other software either.",
            )
        return found

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        match pid:
            case ("storage", _StorageKind() as kind, str(key), _, int(count)) if count >= 0:
                return self.checkpoint.storage(str(kind), key, count)
        raise pickle.UnpicklingError("no storage")


def _tensor(storage: object, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> NDArray[Any]:
    """A tensor: a view of its storage that cannot be written, so that many of one storage take no memory.

    Raises:
        UnpicklingError: it would reach beyond its storage.
    """
    steps = list(zip(size, stride, strict=True))
    if not isinstance(storage, np.ndarray) or offset < 0 or any(n < 0 or step < 0 for n, step in steps):
        raise pickle.UnpicklingError("no tensor")
    if math.prod(size) > storage.size:
        raise pickle.UnpicklingError("a tensor repeats its storage")
    if 0 in size:
        return np.empty(size, storage.dtype)
    if offset + sum((n - 1) * step for n, step in steps) >= storage.size:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _parameter(tensor: NDArray[Any], *_: object) -> NDArray[Any]:
    return tensor


def _number(dtype: np.dtype[Any], content: bytes | str) -> Any:
    """A number of numpy: as its ``scalar`` makes it, but of plain numbers only."""
    if dtype.hasobject:
        raise pickle.UnpicklingError("an object")
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, dtype, 1)[0]


def _dtype(code: str, *_: object) -> np.dtype[Any]:
    found = np.dtype(code)
    if found.hasobject:
        raise pickle.UnpicklingError("an object")
    return found


def _encoded(text: str, encoding: str = "utf-8") -> bytes:
    """As ``_codecs.encode``, by which old pickles write bytes; only for encodings of text."""
    if encoding not in {"latin1", "utf-8", "ascii"}:
        raise pickle.UnpicklingError("an encoding")
    return text.encode(encoding)


class _Named:
    """Called by a pickle, gives an ``Inert``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: Any) -> Inert:
        return Inert(self.name, arguments)


_CALLABLE: Final[Mapping[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): lambda *_: {},
    ("builtins", "set"): set,
    ("_codecs", "encode"): _encoded,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "device"): _Named("device"),
    ("torch", "Size"): tuple,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
}


def _allowed(module: str, name: str) -> Any:
    if module == "torch" and name in STORAGES:
        return _StorageKind(STORAGES[name])
    if module == "pathlib" and name in {"PosixPath", "WindowsPath", "PurePosixPath"}:
        return _Named("path")
    if module == "numpy.dtypes" and name.endswith("DType"):
        return _dtype_class(name)
    return _CALLABLE.get((module, name))


def _dtype_class(name: str) -> Any:
    found = getattr(np.dtypes, name, None)
    return None if found is None or found is np.dtypes.ObjectDType else found
