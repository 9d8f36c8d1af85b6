"""``mediaray cache``: what the cache holds and how often it was of use, and forgetting it."""

from typing import Annotated

import typer
from rich.filesize import decimal

from serve.cli.failures import FAILED, reported
from serve.cli.operations import Json
from serve.cli.render import Screen, print_json
from serve.cli.session import Place
from serve.cli.targets import targets

app = typer.Typer(help="Look at the cache, and have it forget.", no_args_is_help=True)


@app.command()
@reported
def show(json_output: Json = False) -> None:
    """Show what the cache holds, and how often it was of use since it was started."""
    with Place.here().client() as client:
        found = client.health().get("cache")
    if json_output:
        print_json({"cache": found})
    elif found:
        asked = found["hits"] + found["misses"]
        ratio = f"{found['hits'] / asked:.1%} of {asked} asked for" if asked else "nothing asked for yet"
        screen = Screen()
        screen.say(f"{found['hits']} hits ({ratio}), {found['made']} made, {found['near_hits']} at hand in the edge")
        limit = f" of {decimal(found['limit_bytes'])}" if found["limit_bytes"] else ""
        screen.say(f"{decimal(found['size_bytes'])}{limit}, {found['keys']} keys, {found['evicted']} evicted")
    else:
        Screen(stderr=True).error("The cache doesn't answer; all works without it, and takes longer.")
    if not found:
        raise typer.Exit(FAILED)


@app.command()
@reported
def purge(
    source: Annotated[str | None, typer.Option(metavar="FILE", help="All of this file's or object's content.")] = None,
    operation: Annotated[str | None, typer.Option(metavar="NAME", help="All that this operation told.")] = None,
    collection: Annotated[str | None, typer.Option(metavar="NAME", help="All of this collection's files.")] = None,
    json_output: Json = False,
) -> None:
    """Have the cache forget: what was kept of a file, an operation, or a collection. Files stay as they are."""
    if source is None and operation is None and collection is None:
        raise typer.BadParameter("name what to forget: --source, --operation or --collection")
    at = None if source is None else targets([source], None, "none")[0].name
    with Place.here().client() as client:
        client.purge_cache(source=at, operation=operation, collection=collection)
    if json_output:
        print_json({"purged": True})
    else:
        Screen().say("Forgotten.")
