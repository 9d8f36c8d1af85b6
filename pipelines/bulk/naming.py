"""What the files begin with that a task makes of a collection's: the same in every run, whatever is left to do."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cluster.object_paths import writable_key
from pipelines.jobs.file_sources import writable_name


def stable_names(files: Sequence[Mapping[str, Any]], *, keys: bool = False) -> dict[str, str]:
    """The names by ``uri``, of files with ``uri``, ``path`` and ``identity``: where they lie, without the extension.

    Of ``beach.jpg`` and ``Beach.png`` they are ``beach-jpg`` and ``Beach-png``; of two of the same path each has a part
    of the digest of its URI. A name that another file might ever have had isn't given: one that is imported later takes
    none from the files before it. Copies don't count: what is made of one is made of all. With ``keys``, names are as
    those of objects are written.
    """
    forms = {file["uri"]: _forms(file["path"], file["uri"], keys=keys) for file in files}
    claims: defaultdict[str, set[str | None]] = defaultdict(set)
    for file in files:
        for form in forms[file["uri"]]:
            claims[form.casefold()].add(file["identity"] or file["uri"])
    return {
        uri: next((form for form in each if len(claims[form.casefold()]) == 1), each[-1]) for uri, each in forms.items()
    }


def _forms(path: str, uri: str, *, keys: bool) -> tuple[str, str, str]:
    """From the one that is nicest to the one that no other file has."""
    path = writable_key(path) if keys else path
    with_extension = path.replace(".", "-")
    digest = hashlib.sha256(uri.encode()).hexdigest()[:12]
    stem = PurePosixPath(path).with_suffix("").as_posix()
    return writable_name(stem), writable_name(with_extension), writable_name(f"{with_extension}-{digest}")
