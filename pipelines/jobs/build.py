"""Which build made what is kept: this package's own sources, and the libraries that decode and encode.

A version number stays the same in a checkout, and a counter is forgotten one day.
"""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from blake3 import blake3

import pipelines

_LIBRARIES = ("av", "imageio-ffmpeg", "pillow", "opencv-python-headless", "pyvips-binary")


@cache
def build_id(of: Literal["answers", "pieces"]) -> str:
    """What ``answers`` depend on beside files and parameters, or finished ``pieces`` of work, which media code makes.

    The same in a wheel and in the checkout that it is built from. Of the sources as they are when first asked for.
    """
    folder = Path(pipelines.__file__).parent
    sources = digest_of(folder if of == "answers" else folder / "media")
    return blake3(repr([sources, *map(version, _LIBRARIES)]).encode()).hexdigest(length=16)


def digest_of(folder: Path) -> str:
    """BLAKE3 over the names and contents of all Python files in a folder and below."""
    digest = blake3()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
