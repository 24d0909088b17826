"""Files as ``torch.save`` writes them, made without torch: pickles in protocol 0, which people can read."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {"<f4": "FloatStorage", "<f2": "HalfStorage", "<i8": "LongStorage", "|b1": "BoolStorage"}


def tensor(size, stride, *, offset=0, kind="FloatStorage", key="0", count=24) -> str:
    """Opcodes of one tensor: a view of the storage ``key`` of ``count`` numbers."""
    storage = f"(S'storage'\nctorch\n{kind}\nS'{key}'\nS'cpu'\nI{count}\ntQ"
    shape, steps = ("(" + "".join(f"I{n}\n" for n in numbers) + "t" for numbers in (size, stride))
    return (
        f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{shape}{steps}I00\nccollections\nOrderedDict\n(tRtR"
    )


def write_archive(path: Path, pickled: str | bytes, storages: Mapping[str, Any], *, order=b"little") -> Path:
    """The zip: a pickle and the raw numbers of its storages."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", order)
        for key, numbers in storages.items():
            archive.writestr(f"archive/data/{key}", np.asarray(numbers).tobytes())
    return path


def save(path: Path, content: Any) -> Path:
    """What ``torch.save(content, path)`` would write; arrays stand for tensors."""
    storages: dict[str, np.ndarray] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_archive(path, _opcodes(content, storages) + ".", storages)


def _opcodes(it: Any, storages: dict[str, np.ndarray]) -> str:
    if isinstance(it, np.ndarray):
        key = str(len(storages))
        storages[key] = np.ascontiguousarray(it)
        steps = [stride // it.itemsize for stride in storages[key].strides]
        return tensor(it.shape, steps, kind=_KINDS[it.dtype.str], key=key, count=it.size)
    if isinstance(it, Mapping):
        return "(d" + "".join(f"{_opcodes(key, storages)}{_opcodes(value, storages)}s" for key, value in it.items())
    if isinstance(it, tuple):
        return "(" + "".join(_opcodes(one, storages) for one in it) + "t"
    if isinstance(it, str):
        return f"S{it!r}\n"
    return "N" if it is None else f"I{it}\n"
