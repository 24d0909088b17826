"""Write files as ``torch.save`` does, without torch: ``metseg.io.torch_file`` says what is in them.

The same content gives the same bytes. torch reads them with ``weights_only=True`` too.
"""

import itertools
import math
import pickle
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.io.torch_file import STORAGES

_KINDS: Final = {np.dtype(spelt).str: kind for kind, spelt in STORAGES.items() if spelt != "bfloat16"}


def write_torch_file(path: Path, content: Any) -> Path:
    """What ``torch.save(content, path)`` would write.

    Args:
        path: of the new file.
        content: mappings, tuples, text, whole numbers, truth values and None; arrays stand for tensors. An array that
            has several names is stored once, as torch does with tensors that share their numbers.
    """
    storages: dict[int, tuple[str, NDArray[Any]]] = {}
    pickled = pickle.PROTO + b"\x02" + _opcodes(content, storages) + pickle.STOP
    entries: dict[str, Any] = {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n"}
    return write_archive(path, entries | {f"data/{key}": numbers for key, numbers in storages.values()})


def write_archive(path: Path, entries: Mapping[str, bytes | NDArray[Any]]) -> Path:
    """The zip that torch reads: entries by name, neither packed nor dated."""
    with zipfile.ZipFile(path, "x") as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(f"archive/{name}")
            archive.writestr(entry, content if isinstance(content, bytes) else content.tobytes())
    return path


def tensor_opcodes(
    size: Sequence[int], stride: Sequence[int], offset: int, *, kind: str, key: str, count: int
) -> bytes:
    """The part of a pickle that makes a tensor: a view of the storage ``key``, which holds ``count`` numbers.

    Args:
        size: of the tensor along each axis.
        stride: numbers from one to the next along each axis.
        offset: numbers before the first.
        kind: torch's name of the storage's type.
        key: name of the storage in the zip.
        count: numbers in it.
    """
    storage = _tuple(_text("storage"), _named("torch", kind), _text(key), _text("cpu"), _number(count))
    hooks = _named("collections", "OrderedDict") + _tuple() + pickle.REDUCE
    arguments = (
        storage + pickle.BINPERSID, _number(offset), _tuple(*map(_number, size)), _tuple(*map(_number, stride)),
        pickle.NEWFALSE, hooks,
    )  # fmt: skip
    return _named("torch._utils", "_rebuild_tensor_v2") + _tuple(*arguments) + pickle.REDUCE


def _opcodes(it: Any, storages: dict[int, tuple[str, NDArray[Any]]]) -> bytes:
    match it:
        case np.ndarray():
            key, _ = storages.setdefault(id(it), (str(len(storages)), it))
            strides = [math.prod(it.shape[axis + 1 :]) for axis in range(it.ndim)]
            return tensor_opcodes(it.shape, strides, 0, kind=_KINDS[it.dtype.str], key=key, count=it.size)
        case Mapping():
            items: Iterable[Any] = itertools.chain.from_iterable(it.items())
            return pickle.EMPTY_DICT + pickle.MARK + _all(items, storages) + pickle.SETITEMS
        case tuple():
            return pickle.MARK + _all(it, storages) + pickle.TUPLE
        case str():
            return _text(it)
        case bool():
            return pickle.NEWTRUE if it else pickle.NEWFALSE
        case int():
            return _number(it)
        case None:
            return pickle.NONE
    raise TypeError(f"{type(it).__name__} has no place in a checkpoint")


def _all(items: Iterable[Any], storages: dict[int, tuple[str, NDArray[Any]]]) -> bytes:
    return b"".join(_opcodes(one, storages) for one in items)


def _named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode("ascii")


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return pickle.BINUNICODE + len(encoded).to_bytes(4, "little") + encoded


def _number(number: int) -> bytes:
    encoded = pickle.encode_long(number)
    return pickle.LONG1 + bytes([len(encoded)]) + encoded
