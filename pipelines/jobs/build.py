"""Which build made what is kept: this package's own sources, and the libraries that decode and encode.

A version number stays the same in a checkout, and a counter is forgotten one day: what is kept for some days is
cheaply made anew. What collections keep for years is of an operation's ``engine`` instead.
"""

import json
from pathlib import Path
from typing import Literal

from blake3 import blake3
from pydantic import BaseModel

import pipelines
from pipelines.jobs.libraries import ALL, versions_of


def build_id(of: Literal["answers", "pieces"]) -> str:
    """What ``answers`` depend on beside files and parameters, or finished ``pieces`` of work, which media code makes.

    The same in a wheel and in the checkout that it is built from. Of the sources as they are when this module is
    imported: a process that runs on while they are replaced files nothing under what it isn't.
    """
    return _BUILDS[of]


def shape_of(manifest: type[BaseModel]) -> str:
    """Of a piece's manifest that isn't media code's own: one of another shape is no such piece."""
    return json.dumps(manifest.model_json_schema(), sort_keys=True)


def digest_of(folder: Path) -> str:
    """BLAKE3 over the names and contents of all Python files in a folder and below, but hidden ones: editors' notes."""
    digest = blake3()
    for path in sorted(folder.rglob("*.py")):
        below = path.relative_to(folder)
        if any(part.startswith(".") for part in below.parts):
            continue
        content = path.read_bytes()
        digest.update(f"{below.as_posix()}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _builds() -> dict[str, str]:
    folder, versions = Path(pipelines.__file__).parent, versions_of(ALL)
    digests = {"answers": digest_of(folder), "pieces": digest_of(folder / "media")}
    return {of: blake3(repr([digest, *versions]).encode()).hexdigest(length=16) for of, digest in digests.items()}


_BUILDS = _builds()
