"""A result folder appears whole or not at all, and never costs the user a file (how: ``metseg.io.whole_folder``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metseg.core.errors import InputError
from metseg.io.whole_folder import partial_folder, publish, settle_leftovers
from metseg.pipeline.manifest import MANIFEST, file_sha256, read_manifest


def check_name(case: str) -> None:
    """Refuse a case name that could lead out of the output folder, or hide in it.

    Raises:
        InputError: an empty or hidden name, one with a separator, or one too long for a folder.
    """
    if not case or case.startswith(".") or {"/", "\\", "\0"} & set(case) or len(case.encode()) > 200:
        raise InputError(f"{case!r} cannot name a result folder.", hint="Give the file another name.")


def check_target(target: Path, new_names: set[str], *, force: bool = False) -> None:
    """Make sure that writing a result to ``target`` takes nothing from the user.

    Raises:
        InputError: ``target`` holds something that metseg did not write and would have to give way, or an output
            was changed since metseg wrote it (``force`` replaces that one).
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target.name} in the output folder is no folder.", hint="Choose another output folder.")
    if not target.exists() or not any(target.iterdir()):
        return
    manifest = read_manifest(target)
    if manifest is None:
        raise InputError(
            f"The folder {target.name} in the output folder holds files that metseg did not write.",
            hint="Choose another output folder, so that nothing of yours is touched.",
        )
    written = {str(item["name"]): str(item["sha256"]) for item in manifest["outputs"]}
    clashing = sorted(name for name in new_names - {*written, MANIFEST} if (target / name).exists())
    if clashing:
        raise InputError(
            f"{target.name}/{clashing[0]} stands where a result would go, but metseg did not write it.",
            hint="Move it away, or choose another output folder.",
        )
    changed = [name for name, sha256 in written.items() if _changed(target / name, sha256)]
    if changed and not force:
        raise InputError(
            f"{target.name}/{changed[0]} was changed since metseg wrote it, and would be replaced.",
            hint="Use --force to replace it, or choose another output folder.",
        )


@contextmanager
def result_folder(target: Path) -> Iterator[Path]:
    """A hidden folder that takes the name ``target`` when the block ends well, and vanishes when it does not.

    Raises:
        InputError: the output folder cannot be made or written.
    """
    with partial_folder(target, _own_names) as partial:
        yield partial
        publish(partial, target, _own_names)


def settle_result(target: Path) -> None:
    """Tidy up after runs on this case that were killed: half results go, a result that had stepped aside comes back."""
    settle_leftovers(target, _own_names)


def _own_names(folder: Path) -> set[str]:
    manifest = read_manifest(folder)
    return {MANIFEST, *(str(item["name"]) for item in manifest["outputs"])} if manifest else set()


def _changed(path: Path, sha256: str) -> bool:
    return path.exists() and file_sha256(path) != sha256
