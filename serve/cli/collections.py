"""``mediaray collections``: look at collections, ask them, export, watch and remove them."""

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.filesize import decimal

from cluster.errors import StorageError
from serve.cli.failures import reported
from serve.cli.operations import Json
from serve.cli.render import Screen, print_json
from serve.cli.session import Place

Name = Annotated[str, typer.Argument(metavar="NAME", help="The collection's name: see mediaray collections list.")]
Where = Annotated[
    str | None, typer.Option(help="Which files: a condition in SQL, as \"kind = 'video' AND height < 720\".")
]
Columns = Annotated[str | None, typer.Option(help="What is told of each: path, size_bytes; or '*' for all of it.")]
OrderBy = Annotated[str | None, typer.Option(help="What rows are sorted by: size_bytes DESC. Else by URI.")]
_SHOWN = "path, kind, size_bytes, state, format, duration_s, width, height"
_FORMATS = ("parquet", "csv", "jsonl")
_PREFIX = "collection:"
_PAGE = 1000  # rows of one answer, at most

app = typer.Typer(help="List, ask, export and watch collections.", no_args_is_help=True)


@app.command("list")
@reported
def list_collections(json_output: Json = False) -> None:
    """List collections: their files by kind, and what was done with them."""
    with Place.here().client() as client:
        found = client.collections()
    if json_output:
        print_json({"collections": found})
    elif found:
        headings = ("COLLECTION", "FILES", "SIZE", "KINDS", "WATCHED", "DONE")
        Screen().table(headings, [_line(each) for each in found])
    else:
        Screen().say("No collections yet. Make one: mediaray collection-import FOLDER --into NAME")


@app.command()
@reported
def show(name: Name, json_output: Json = False) -> None:
    """Show what a collection holds, and what was done with its files."""
    with Place.here().client() as client:
        found = client.collection(_plain(name))
    if json_output:
        print_json(found)
    else:
        Screen().details(found["name"], found)


@app.command()
@reported
def query(
    name: Name,
    where: Where = None,
    columns: Columns = None,
    order_by: OrderBy = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 20,
    json_output: Json = False,
) -> None:
    """Show files of a collection that meet a condition."""
    with Place.here().client() as client:
        told = columns if columns is not None else None if json_output else _SHOWN
        found = client.collection_files(
            _plain(name), where=where, columns=told, order_by=order_by, page_size=min(limit + 1, _PAGE)
        )
        rows = list(itertools.islice(found, limit + 1))
    if json_output:
        print_json({"rows": rows[:limit], "more": len(rows) > limit})
        return
    screen = Screen()
    if not rows:
        screen.say("No such files.")
        return
    screen.table(
        [column.upper() for column in rows[0]], [[_cell(value) for value in row.values()] for row in rows[:limit]]
    )
    if len(rows) > limit:
        screen.note(f"There are more: --limit, or all of them: mediaray collections export {name} -o FILE.parquet")


@app.command()
@reported
def export(
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="FILE.parquet, .csv or .jsonl")],
    where: Where = None,
    columns: Columns = None,
    order_by: OrderBy = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    json_output: Json = False,
) -> None:
    """Write what is known of a collection's files to a file: Parquet, CSV or JSON lines."""
    if output.suffix.removeprefix(".") not in _FORMATS:
        raise typer.BadParameter(f"name it {', '.join(f'.{each}' for each in _FORMATS)}", param_hint="--output")
    if os.path.lexists(output) and not overwrite:
        raise StorageError("output_exists", f"{output} exists already. Choose another name, or give --overwrite.")
    with Place.here().client() as client:
        client.export_collection(
            _plain(name), output, where=where, columns=columns, order_by=order_by, overwrite=overwrite
        )
    size_bytes = output.stat().st_size
    if json_output:
        print_json({"path": str(output.absolute()), "size_bytes": size_bytes})
    else:
        Screen().say(f"{output}  ({decimal(size_bytes)})")


@app.command()
@reported
def watch(
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Watch it no more.")] = False,
    json_output: Json = False,
) -> None:
    """Import what changes in a collection's folders, as it changes, while a server runs: mediaray up."""
    plain = _plain(name)
    with Place.here().client() as client:
        if off:
            client.unwatch_collection(plain)
            found = None
        else:
            found = client.watch_collection(plain)
    if json_output:
        print_json({"watched": found})
    elif found is None:
        Screen().say(f"Not watched: {plain}")
    else:
        Screen().say(f"Watched: {plain}: {', '.join(found['folders'])}")


@app.command()
@reported
def remove(name: Name, json_output: Json = False) -> None:
    """Forget a collection and what was made of its files and kept with it. The files themselves stay."""
    with Place.here().client() as client:
        client.remove_collection(_plain(name))
    if json_output:
        print_json({"removed": _plain(name)})
    else:
        Screen().say(f"Removed: {_plain(name)}")


def _plain(name: str) -> str:
    """Also as sources of jobs are named."""
    return name.removeprefix(_PREFIX)


def _line(found: Mapping[str, Any]) -> Sequence[str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found["kinds"].items())
    done = ", ".join(f"{task['columns']} {task['done']}" for task in found["tasks"])
    return found["name"], str(found["files"]), decimal(found["size_bytes"]), kinds, _watched(found["watched"]), done


def _watched(watch: Mapping[str, Any] | None) -> str:
    if watch is None:
        return ""
    return f"since {watch['since'][:10]}{', with errors: see show' if watch['error'] or watch['away'] else ''}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
