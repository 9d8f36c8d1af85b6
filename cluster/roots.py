"""Which files and which objects may be read and written.

A file lies where the system says that it does, wherever its path seems to lead; an object where its key says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import StorageError
from cluster.object_paths import ObjectPath
from cluster.stores import StoreAddresses


@dataclass(frozen=True)
class ObjectAccess:
    """Which objects may be read and written, those at or below some paths, and how their stores are reached.

    What is read of them is kept in the folder ``fetched``, and takes about ``fetched_bytes`` there.
    """

    read: tuple[ObjectPath, ...]
    write: tuple[ObjectPath, ...]
    stores: StoreAddresses
    fetched: Path
    fetched_bytes: int


@dataclass(frozen=True)
class Roots:
    """Folders that may be read and written, as real paths; and objects."""

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    objects: ObjectAccess | None = None


def check_path_below(real: Path, named: Path, roots: Sequence[Path], code: str) -> None:
    """Check the path ``named``, which leads to ``real``.

    Raises:
        StorageError: ``code``: one of them is outside of the folders ``roots``, which are to be read for
            ``source_outside_roots``, written for ``output_outside_roots``; or ``real`` isn't resolved.
    """
    if _is_below(real, roots) and ".." not in real.parts:
        return
    folders = f"the folders this server may {'write' if code.startswith('output') else 'read'}"
    if _is_below(named, roots):
        raise StorageError(code, f"{named} is, or lies behind, a link that leads outside {folders}.")
    raise StorageError(code, f"{named} is outside {folders}. Add its folder to the roots.")


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    """``path`` is compared with the roots as named and as resolved: a root may itself be a symlink.

    By their parts, and resolved only where it has to be: of a batch's thousands of paths this is what takes longest.
    """
    return any(_leads(root, path) for root in roots) or any(_leads(root.resolve(), path) for root in roots)


def _leads(root: Path, path: Path) -> bool:
    return path.parts[: len(root.parts)] == root.parts


def check_object_below(path: ObjectPath, access: ObjectAccess | None, code: str) -> ObjectAccess:
    """How ``path`` may be used; ``code`` says for what, as of ``check_path_below``.

    Raises:
        StorageError: ``code``: it is outside of what may be.
    """
    writes = code.startswith("output")
    if access is None or not any(map(path.is_relative_to, access.write if writes else access.read)):
        setting = "MEDIARAY_OUTPUT_ROOTS" if writes else "MEDIARAY_ROOTS"
        raise StorageError(
            code,
            f"{path} is outside what this server may {'write' if writes else 'read'}. Add its bucket, or a prefix that "
            f"it is below, to {setting}, as {path.parent}/.",
        )
    return access
