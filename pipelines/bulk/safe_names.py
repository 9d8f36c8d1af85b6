"""Names of files that every file system takes: those of Windows are the strictest, macOS sees no case.

What Windows refuses: https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=\s*(\.|$))")
_MOST_BYTES = 200  # of a name: file systems take 255, and a part of that is for what is added
_MOST_OF_PATH = 240  # characters of a path in the folder: Windows takes 259, with the folder's own
_SUFFIX_BYTES = 20  # an extension that is longer is none
_DIGITS = (8, 32)  # of a digest that parts names: should the first ones not do, more


def safe_path(path: str) -> str:
    """A relative path with ``/``, each part of which is safe; ``..`` and empty parts lead nowhere."""
    parts = [safe_name(part) for part in path.split("/") if part]
    whole = "/".join(parts) or "_"
    if len(whole) <= _MOST_OF_PATH:
        return whole
    return f"{parts[0][:60].rstrip('. ')}/{_digest(whole, 16)}-{_shortened(parts[-1], 120)}"


def safe_name(name: str) -> str:
    """One name, as it is where that can be."""
    safe = _REFUSED.sub("_", unicodedata.normalize("NFC", name)).rstrip(". ") or "_"
    return _shortened(_DEVICE.sub(r"\1_", safe, count=1) if _DEVICE.match(safe) else safe, _MOST_BYTES)


def apart(
    paths: Sequence[str], keys: Sequence[str], taken: Collection[str] = (), kept: Mapping[str, str] | None = None
) -> list[str]:
    """Safe paths, no two of which are the same where case doesn't count, nor a file the folder of another.

    Of those that would be, each gets a part of the digest of its key. ``kept`` are the names that some have by now, by
    their keys: they keep them. ``taken`` are those of others.
    """
    kept = kept or {}
    found = [kept.get(key, path) for path, key in zip(paths, keys, strict=True)]
    wanted = [_folded(path) for path, name in zip(paths, found, strict=True) if path != name]
    for digits in _DIGITS:
        folded = [_folded(path) for path in found]
        counts = Counter((*folded, *wanted))
        folders = {str(parent) for path in folded for parent in PurePosixPath(path).parents}
        clashing = folders | {_folded(path) for path in taken} | {path for path, count in counts.items() if count > 1}
        found = [
            _marked(path, _digest(key, digits)) if fold in clashing and key not in kept else path
            for path, fold, key in zip(found, folded, keys, strict=True)
        ]
    return found


def forms_of(path: str, key: str) -> Iterator[str]:
    """All that ``apart`` may make of a path, whatever others there are."""
    yield path
    for digits in _DIGITS:
        path = _marked(path, _digest(key, digits))
        yield path


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def _marked(path: str, mark: str) -> str:
    at = PurePosixPath(path)
    return str(at.with_name(f"{at.stem}-{mark}{at.suffix}"))


def _shortened(name: str, most_bytes: int) -> str:
    """With its extension, and a part of the digest of what it was."""
    if len(name.encode()) <= most_bytes:
        return name
    suffix = PurePosixPath(name).suffix
    suffix = suffix if len(suffix.encode()) <= _SUFFIX_BYTES else ""
    ending = f"~{_digest(name, 8)}{suffix}"
    stem = name.removesuffix(suffix).encode()[: most_bytes - len(ending.encode())].decode(errors="ignore")
    return stem.rstrip(". ") + ending


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
