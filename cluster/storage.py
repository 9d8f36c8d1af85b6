"""Files that jobs read and write: under the roots, opened without symlink tricks, published whole.

A source or target is a path or a ``file:`` URI. What was opened is checked, not what was named, so nothing changes
between the check and the use.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cluster.child import SourceDescriptor
from cluster.errors import StorageError
from cluster.identity import Identity, identify, is_other, listed_stamp_of, stamp_of
from cluster.object_paths import SCHEMES, ObjectAccess, ObjectPath

STAGED_SUFFIX = ".mediaray-part"
_FLUSHED_AT_ONCE = 16
_NAME_MAX, _PATH_MAX = 255, 4096  # bytes, on Linux
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)  # how file systems say that they have no hard links
_STAGED_NAME_MAX = 160  # bytes of a target's name in its staged name: the tag and the suffix need the rest


@dataclass(frozen=True)
class Roots:
    """Folders that may be read and written, as real paths; and objects."""

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    objects: ObjectAccess | None = None


@dataclass(frozen=True)
class OpenSource:
    """An open regular file under the roots, and what the file system noted of it then."""

    descriptor: int
    path: Path
    facts: os.stat_result
    failure: None = None  # a part that can't be had is what the child itself meets

    @property
    def size_bytes(self) -> int:
        return self.facts.st_size

    @property
    def modified_ns(self) -> int:
        return self.facts.st_mtime_ns

    @cached_property
    def _content(self) -> Identity:
        return identify(self.descriptor)

    def identity(self) -> Identity:
        """As it was when it was first asked for; then ``is_other`` knows a rename from an edit."""
        return self._content

    def stamp(self) -> Identity:
        return stamp_of(self.facts)

    def listed_stamp(self) -> Identity:
        """As collections keep it, and tell it without opening it, too."""
        return listed_stamp_of(self.facts)

    def read(self, count: int, offset: int) -> bytes:
        """``count`` bytes from ``offset`` on.

        Raises:
            StorageError: ``source_changed``: it has less by now; ``source_unreadable``.
        """
        read = bytearray()
        try:
            self.identity()  # before the rest: reading it all may take hours
            while len(read) < count:  # a call may give fewer: at most 2 GiB, and over a network less
                part = os.pread(self.descriptor, count - len(read), offset + len(read))
                if not part:
                    raise source_changed(self.path)
                read += part
        except OSError as error:
            raise StorageError("source_unreadable", f"{self.path} can't be read: {error.strerror}.") from error
        return bytes(read)

    def for_child(self) -> SourceDescriptor:
        return SourceDescriptor(self.descriptor, self.path.name)

    def is_other(self) -> bool:
        """Whether it was written to since it was opened."""
        return is_other(self.descriptor, self.facts, vars(self).get("_content"))


def source_changed(path: Path | ObjectPath) -> StorageError:
    """To be raised of a source that ``is_other``."""
    return StorageError(
        "source_changed", f"{path} changed while it was read; wait until it is complete and submit again."
    )


def local_path(uri: str) -> Path:
    """The absolute path that a source or target names.

    Raises:
        StorageError: another scheme, a relative path, or what no file system takes as a name.
    """
    path = uri if uri.startswith("/") else _path_of_uri(uri)
    try:
        nameable = path.startswith("/") and "\0" not in path and len(os.fsencode(path)) < _PATH_MAX
        nameable = nameable and all(len(os.fsencode(part)) <= _NAME_MAX for part in path.split("/"))
    except UnicodeEncodeError:
        nameable = False
    if not nameable:
        raise StorageError("source_invalid", f"Not an absolute path or file: URI: {uri[:200]!a}")
    return Path(os.path.normpath(path))


def _path_of_uri(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return unquote(parts.path)
    if parts.scheme and "://" in uri:
        known = parts.scheme in SCHEMES
        raise StorageError(
            "scheme_unsupported",
            f"{parts.scheme}:// URIs aren't taken here; use a path."
            if known
            else f"Sources of the kind {parts.scheme}:// are not supported; use a path, or s3://bucket/key.",
        )
    return ""


@contextlib.contextmanager
def open_source(uri: str, roots: Sequence[Path]) -> Iterator[OpenSource]:
    """Open a source for reading.

    Raises:
        StorageError: ``source_not_found``, ``source_outside_roots``, ``source_not_a_file``, ``source_empty``.
    """
    path = local_path(uri)
    _refuse_outside(path, path, roots, "source_outside_roots")  # before it's touched: no news of what lies elsewhere
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise StorageError("source_not_found", f"There is no file {path}.") from None
    except OSError as error:
        raise StorageError("source_unreadable", f"{path} can't be opened: {error.strerror}.") from error
    try:
        _refuse_outside(_opened_path(descriptor), path, roots, "source_outside_roots")
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder; name a file" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
            raise StorageError("source_not_a_file", f"{path} is {kind}.")
        if facts.st_size == 0:
            raise StorageError("source_empty", f"{path} is empty (0 bytes).")
        yield OpenSource(descriptor, path, facts)
    finally:
        os.close(descriptor)


def check_folder(uri: str, roots: Sequence[Path]) -> Path:
    """The folder that ``uri`` names.

    Raises:
        StorageError: ``source_not_found``, ``source_outside_roots``.
    """
    path = local_path(uri)
    _refuse_outside(path, path, roots, "source_outside_roots")
    _refuse_outside(path.resolve(), path, roots, "source_outside_roots")
    if not path.is_dir():
        raise StorageError("source_not_found", f"There is no folder {path}.")
    return path


@dataclass(frozen=True)
class Found:
    """``files`` in order of their names; ``left_out`` are printable names of what can't be read or named."""

    files: tuple[Path, ...]
    left_out: tuple[str, ...]


def files_below(folder: Path, suffixes: Container[str], *, without: Path | None = None, most: int) -> Found:
    """Files in ``folder`` and below whose names end as ``suffixes`` say.

    Hidden files and folders are left out, links to folders, and what lies in ``without``.

    Raises:
        StorageError: ``source_too_many``: more than ``most``.
    """
    files: list[Path] = []
    left_out: list[str] = []

    def unreadable(error: OSError) -> None:
        left_out.append(f"{error.filename} ({error.strerror})")

    aside = without.resolve() if without else None
    for at, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(at)
        folders[:] = sorted(each for each in folders if not each.startswith(".") and (here / each).resolve() != aside)
        for name in sorted(names):
            if name.startswith(".") or Path(name).suffix.lower() not in suffixes:
                continue
            if not _is_text(str(here / name)):
                left_out.append(f"{str(here / name)!a} (its name isn't UTF-8)")
                continue
            files.append(here / name)
            if len(files) > most:
                raise StorageError("source_too_many", f"{folder} holds more than {most} of them. Name subfolders.")
    return Found(tuple(files), tuple(left_out))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    folder = _existing_folder(into)
    _refuse_outside(folder.resolve() / path.relative_to(folder), path, roots, "output_outside_roots")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError("output_not_writable", f"No permission to write into {folder}.")


def stage(made: Path, target: Path, roots: Sequence[Path], tag: str) -> Path:
    """Bring a file that is on the disk beside its target under a temporary name; ``flush_folder`` makes that last.

    Returns the name.
    """
    with disk_errors(target):
        make_folder(target.parent)
        _refuse_outside(target.parent.resolve() / target.name, target, roots, "output_outside_roots")
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
    _flush(staged)


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
                _give_new_name(staged, target)
        except FileNotFoundError:  # an earlier attempt published it, or one that is at it this moment
            if not (target.exists() and target.stat().st_size == size_bytes):
                raise StorageError("output_lost", f"The finished file for {target} is gone from its folder.") from None


def _give_new_name(staged: Path, target: Path) -> None:
    """Rename where nothing has the name; FileNotFoundError where there is nothing to rename."""
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


def free_space(folder: Path) -> int:
    """Bytes that may be written below ``folder``, which need not exist yet."""
    return shutil.disk_usage(_existing_folder(folder)).free


def file_system_of(folder: Path) -> int:
    """Alike of all folders, which need not exist yet, that share their space."""
    return _existing_folder(folder).stat().st_dev


def remove_staged(folder: Path, tag_prefix: str) -> None:
    """Remove what attempts with this tag prefix staged in a folder."""
    for staged in folder.glob(f".*.{tag_prefix}*{STAGED_SUFFIX}"):
        staged.unlink(missing_ok=True)


def flush_files(folder: Path) -> None:
    """Bring the files in a folder to the disk: before it is said that they are there."""
    with disk_errors(folder):
        files = list(folder.iterdir())
        # Side by side: the file system writes down what waits together at once.
        with ThreadPoolExecutor(max(1, min(_FLUSHED_AT_ONCE, len(files)))) as pool:
            for _ in pool.map(_flush, files):
                pass
        _flush(folder)


def flush_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    with disk_errors(folder):
        _flush(folder)


def staged_name(target: Path, tag: str) -> Path:
    """What a file is called beside its target until it is published; ``remove_staged`` finds it by its tag."""
    return target.with_name(f".{_shortened(target.name)}.{tag}{STAGED_SUFFIX}")


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= _STAGED_NAME_MAX:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return encoded[: _STAGED_NAME_MAX - 17].decode(errors="ignore") + "~" + digest


def _opened_path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _refuse_outside(real: Path, named: Path, roots: Sequence[Path], code: str) -> None:
    if _is_below(real, roots):
        return
    folders = f"the folders this server may {'write' if code.startswith('output') else 'read'}"
    if _is_below(named, roots):
        raise StorageError(code, f"{named} is, or lies behind, a link that leads outside {folders}.")
    raise StorageError(code, f"{named} is outside {folders}. Add its folder to the roots.")


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    """``path`` is compared with the roots as named and as resolved: a root may itself be a symlink."""
    return any(path.is_relative_to(root) or path.is_relative_to(root.resolve()) for root in roots)


def _existing_folder(folder: Path) -> Path:
    while not folder.is_dir():
        if os.path.lexists(folder):
            raise StorageError("output_not_writable", f"{folder} is not a folder.")
        folder = folder.parent
    return folder


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it; what is new lasts."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush(folder.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Tell what goes wrong with writing ``target`` as StorageError: ``disk_full``, ``output_not_writable``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError("disk_full", f"No space left to write {target}.") from error
        raise StorageError("output_not_writable", f"{target} can't be written: {error.strerror}.") from error
