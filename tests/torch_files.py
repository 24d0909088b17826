"""Files as ``torch.save`` writes them, and such as it never would, made without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metseg.io import torch_write


def tensor(size, stride, *, offset=0, kind="FloatStorage", key="0", count=24) -> bytes:
    """Opcodes of one tensor: a view of the storage ``key`` of ``count`` numbers, if there is such a one."""
    return torch_write.tensor_opcodes(size, stride, offset, kind=kind, key=key, count=count)


def write_archive(path: Path, pickled: str | bytes, storages: Mapping[str, Any], *, order=b"little") -> Path:
    """The zip: a pickle and the raw numbers of its storages."""
    path.unlink(missing_ok=True)
    text = pickled.encode("ascii") if isinstance(pickled, str) else pickled
    numbers = {f"data/{key}": np.asarray(one) for key, one in storages.items()}
    return torch_write.write_archive(path, {"data.pkl": text, "byteorder": order, **numbers})


def save(path: Path, content: Any) -> Path:
    """What ``torch.save(content, path)`` would write; arrays stand for tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return torch_write.write_torch_file(path, content)
