"""Names of cases, from names of files and folders: safe on every file system, and each but once."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

# Longest first, so that "scan.nii.gz" becomes "scan".
IMAGE_SUFFIXES: Final = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
_FORBIDDEN: Final = re.compile(r'[/\\:*?"<>|]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST_BYTES: Final = 120


def safe_name(text: str) -> str:
    """``text`` as the name of a folder: letters of any script, digits, spaces and most signs stay.

    >>> safe_name("Müller: Kopf/T1 ")
    'Müller_ Kopf_T1'
    """
    text = unicodedata.normalize("NFC", text)
    text = "".join(
        "_" if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in {"Zl", "Zp"} else c for c in text
    )
    text = _FORBIDDEN.sub("_", text).strip(" .").lstrip("-")
    text = text.encode("utf-8", "ignore")[:_LONGEST_BYTES].decode("utf-8", "ignore").rstrip(" .")
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    return text or "case"


def shown_name(path: PurePath) -> str:
    """A file's name for messages: what no terminal or UTF-8 text can bear becomes ``�``; the folder is left out."""
    name = path.name or str(path)
    return "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in name)


def stem(name: str) -> str:
    """``name`` without the suffix of an image or a zip.

    >>> stem("p.01 t1.nii.gz")
    'p.01 t1'
    """
    lower = name.lower()
    found = next((suffix for suffix in (*IMAGE_SUFFIXES, ".zip", ".dcm") if lower.endswith(suffix)), "")
    return name[: len(name) - len(found)] or name


def unique_names(wanted: Sequence[tuple[str, PurePath]]) -> list[str]:
    """One safe name for each of (name, where it lies), no two alike, upper and lower case taken as one.

    Names that clash get the name of the folder they lie in put in front; names that still clash are numbered.

    >>> unique_names([("t1", PurePath("anna/t1.nii")), ("t1", PurePath("ben/t1.nii")), ("t2", PurePath("t2.nii"))])
    ['anna_t1', 'ben_t1', 't2']
    """
    names = [safe_name(name) for name, _ in wanted]
    count = Counter(name.casefold() for name in names)
    names = [
        safe_name(f"{where.parent.name}_{name}") if count[name.casefold()] > 1 and where.parent.name else name
        for name, (_, where) in zip(names, wanted)
    ]
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.casefold())
        result.append(candidate)
    return result
