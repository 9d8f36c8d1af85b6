"""What a command names: sources and outputs as absolute paths, and the folders the server may use."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from serve.cli.session import Place

_OUTPUT = "--output"
COLLECTION = "collection:"  # what the source of an operation on a collection begins with


@dataclass(frozen=True)
class Target:
    """The sources of a job and where its result goes. An output that ends in a slash is a folder."""

    sources: tuple[str, ...]
    output: str | None

    @property
    def name(self) -> str:
        """For messages: the first source, and how many more there are."""
        return self.sources[0] + (f" (+{len(self.sources) - 1})" if len(self.sources) > 1 else "")


def targets(
    sources: Sequence[str], output: str | None, kind: Literal["none", "file", "folder"], *, many: bool = False
) -> list[Target]:
    """One target per source, or one for all where a job takes ``many``.

    Several share an output folder: files keep their stem, folders get one each.

    Raises:
        typer.BadParameter: a source is missing, or several have no folder to go to.
    """
    found = [_source(each) for each in sources]
    if output is not None and not output.strip():
        raise typer.BadParameter("the output has no name", param_hint=_OUTPUT)
    if output is None or kind == "none":
        return [Target(tuple(found), None)] if many else [Target((source,), None) for source in found]
    remote = "://" in output
    folder = output.endswith("/") or (not remote and Path(output).is_dir())
    # Not resolved: the name given is the name used.
    place = output.rstrip("/") if remote else os.path.abspath(output)  # noqa: PTH100
    if many:
        return [Target(tuple(found), f"{place}/" if folder or kind == "folder" else place)]
    if len(found) == 1:
        return [Target((found[0],), f"{place}/" if folder else place)]
    if kind == "file" and not folder:
        raise typer.BadParameter(f"several sources need a folder here: {output}/", param_hint=_OUTPUT)
    return [Target((source,), f"{place}/{Path(source).stem}" if kind == "folder" else f"{place}/") for source in found]


def split_by_name(chosen: Sequence[Target]) -> tuple[list[Target], list[Target]]:
    """Targets whose results have names of their own, and those that would write over an earlier one's."""
    apart: list[Target] = []
    clashing: list[Target] = []
    names: set[str] = set()
    for target in chosen:
        name = f"{target.output}{Path(target.sources[0]).stem}" if target.output else None
        (clashing if name in names else apart).append(target)
        if name:
            names.add(name)
    return apart, clashing


@contextlib.contextmanager
def granted(
    place: Place, chosen: Sequence[Target], files: Sequence[str] = (), folders: Sequence[str] = ()
) -> Iterator[None]:
    """Let the server read where sources and ``files`` are and write where outputs go, unless roots are configured.

    To ``folders`` it may write, too.

    What is new is taken back when the body fails: a refused command grants nothing.
    """
    from cluster.grants import grant, revoke  # slow to import

    if place.settings.roots is not None and place.settings.output_roots is not None:
        yield
        return
    read: set[Path] = set()
    for source in {*(source for target in chosen for source in target.sources), *files}:
        if "://" not in source and not source.startswith(COLLECTION):
            for path in (Path(source), Path(source).resolve()):  # a link and what it names
                read.add(path if path.is_dir() else path.parent)
    write = {
        Path(target.output) if target.output.endswith("/") else Path(target.output).parent
        for target in chosen
        if target.output and "://" not in target.output
    }
    new = grant(place.home, read=sorted(read), write=sorted(write | set(map(Path, folders))))
    try:
        yield
    except BaseException:
        revoke(place.home, new)
        raise


def _source(given: str) -> str:
    if not given.strip():
        raise typer.BadParameter("a source has no name", param_hint="SOURCE")
    if "://" in given or given.startswith(COLLECTION):
        return given
    try:
        given.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"the name {given!a} isn't UTF-8; rename the file", param_hint="SOURCE") from None
    path = os.path.abspath(given)  # noqa: PTH100
    if not os.path.exists(path):  # noqa: PTH110
        raise typer.BadParameter(f"there is no file {given}", param_hint="SOURCE")
    return path
