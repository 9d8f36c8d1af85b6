"""Files that jobs make: staged beside their targets under temporary names, then published whole.

What a finished file's place has against it is told before the work, as far as it's known then.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from cluster.disk import disk_errors, existing_folder, flush, make_folder
from cluster.errors import StorageError
from cluster.roots import check_path_below

STAGED_SUFFIX = ".mediaray-part"
_STAGED_NAME_MAX = 160  # bytes of a target's name in its staged name: the tag and the suffix need the rest
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)  # how file systems say that they have no hard links


def check_target(path: Path, roots: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse a target that can't be published to.

    Raises:
        StorageError: ``output_outside_roots``, ``output_exists``, ``output_not_writable``.
    """
    _check_place(path, roots, path.parent)
    if path.is_dir():
        raise StorageError("output_exists", f"{path} is a folder. Name a file.")
    if not overwrite and os.path.lexists(path):  # a link that leads nowhere has the name too
        raise StorageError("output_exists", f"{path} exists already. Choose another name, or set overwrite.")


def check_target_folder(path: Path, roots: Sequence[Path]) -> None:
    """Refuse a folder that nothing can be published into; it need not exist yet.

    Raises:
        StorageError: ``output_outside_roots``, ``output_exists``: it's a file, ``output_not_writable``.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise StorageError("output_exists", f"{path} is a file. Name a folder.")
    _check_place(path, roots, path)


def _check_place(path: Path, roots: Sequence[Path], into: Path) -> None:
    """Refuse ``path`` outside ``roots``, and where ``into``, or the folder that it would be made in, is locked."""
    folder = existing_folder(into)
    check_path_below(folder.resolve() / path.relative_to(folder), path, roots, "output_outside_roots")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError("output_not_writable", f"No permission to write into {folder}.")


def stage(made: Path, target: Path, roots: Sequence[Path], tag: str) -> Path:
    """Bring a file that is on the disk beside its target under a temporary name; ``flush_folder`` makes that last.

    Returns the name.
    """
    with disk_errors(target):
        _check_place(target, roots, target.parent)
        make_folder(target.parent)
        check_path_below(target.parent.resolve() / target.name, target, roots, "output_outside_roots")
        staged = staged_name(target, tag)
        try:
            # A file with other names may be kept work: whoever changes the output in place mustn't change that.
            if made.stat().st_nlink > 1:
                _copy(made, staged)
            else:
                os.link(made, staged)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, *_NO_LINKS):
                raise
            _copy(made, staged)
    return staged


def _copy(made: Path, staged: Path) -> None:
    shutil.copyfile(made, staged)
    flush(staged)


def publish(staged: Path, target: Path, *, overwrite: bool, size_bytes: int) -> None:
    """Give a staged file its name, atomically; ``flush_folder`` then makes it last.

    May be repeated: the second time changes nothing.

    Raises:
        StorageError: ``output_exists`` where another file has the name; ``output_lost`` where neither is there.
    """
    with disk_errors(target):
        try:
            if overwrite:
                staged.replace(target)
            else:
                give_new_name(staged, target)
        except FileNotFoundError:  # an earlier attempt published it, or one that is at it this moment
            if not (target.exists() and target.stat().st_size == size_bytes):
                raise StorageError("output_lost", f"The finished file for {target} is gone from its folder.") from None


def give_new_name(staged: Path, target: Path) -> None:
    """Rename where nothing has the name.

    Raises:
        StorageError: ``output_exists``.
        FileNotFoundError: there is nothing to rename.
    """
    try:
        os.link(staged, target)
        staged.unlink(missing_ok=True)
    except FileExistsError:
        if not (target.exists() and target.samefile(staged)):
            raise StorageError("output_exists", f"{target} exists already.") from None
        staged.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # exFAT and some network shares: take the name with an empty file, then replace that.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        if target.stat().st_size:
            raise StorageError("output_exists", f"{target} exists already.") from None
        staged.replace(target)


def staged_name(target: Path, tag: str) -> Path:
    """What a file is called beside its target until it is published; ``remove_staged`` finds it by its tag."""
    return target.with_name(f".{_shortened(target.name)}.{tag}{STAGED_SUFFIX}")


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= _STAGED_NAME_MAX:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return encoded[: _STAGED_NAME_MAX - 17].decode(errors="ignore") + "~" + digest


def remove_staged(folder: Path, tag_prefix: str) -> None:
    """Remove what attempts with this tag prefix staged in a folder."""
    for staged in folder.glob(f".*.{tag_prefix}*{STAGED_SUFFIX}"):
        staged.unlink(missing_ok=True)
