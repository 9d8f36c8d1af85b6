"""``mediaray up``, ``down`` and ``status``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.errors import StartupError
from serve.cli.failures import FAILED, UNREACHABLE, reported, warn_of_unknown_settings
from serve.cli.launch import stop_server
from serve.cli.operations import Json
from serve.cli.render import Screen, duration, print_json, print_json_line
from serve.cli.session import Place

if TYPE_CHECKING:
    from cluster.settings import Settings

_STOP_LIMIT_S = 60.0


@reported
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port.  [default: 8420]")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs for work.  [default: all]")] = None,
    idle_exit: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=1, help="Stop after this long without work.")
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder that jobs may read and write; repeat it. Default: those you name."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Start everything here, in the foreground. Ctrl-C stops it; jobs go on at the next start."""
    from serve.up import run  # brings Ray

    settings = _settings(host=host, port=port, cpus=cpus, idle_exit_s=idle_exit, root=root)
    warn_of_unknown_settings()

    def on_ready(url: str) -> None:
        if json_output:
            print_json_line({"url": url, "home": str(settings.home)})
        else:
            screen = Screen()
            screen.say(f"mediaray is ready at {url}", style="green")
            screen.note(f"State and token: {settings.home}. Ctrl-C stops it.")

    raise typer.Exit(run(settings, on_ready=on_ready))


@reported
def down(json_output: Json = False) -> None:
    """Stop the server. Unfinished jobs go on at the next start."""
    place = Place.here()
    server = place.home.server()
    screen = Screen()
    if server is None:
        if json_output:
            print_json({"stopped": False, "home": str(place.home.path)})
        else:
            screen.say(f"No server runs on {place.home.path}.")
        return
    if server.get("run_by") == "serve":
        raise StartupError("Ray Serve runs this server: it ends with its cluster. See docs/deploy/kubernetes.md.")
    with screen.waiting("Stopping…"):
        stopped = stop_server(place.home, _STOP_LIMIT_S)
    if json_output:
        print_json({"stopped": stopped, "home": str(place.home.path), "pid": server["pid"]})
    elif stopped:
        screen.say("Stopped.")
    else:
        pid = server["pid"]
        screen.error(f"Process {pid} still runs after {_STOP_LIMIT_S:.0f} s. To end it: kill -9 {pid}")
    if not stopped:
        raise typer.Exit(FAILED)


@reported
def status(json_output: Json = False) -> None:
    """Say what runs, and how it is."""
    place = Place.here()
    server = place.home.server()
    if server is None:
        if json_output:
            print_json({"running": False, "home": str(place.home.path)})
        else:
            Screen().say(f"No server runs on {place.home.path}. Start it with: mediaray up")
        raise typer.Exit(UNREACHABLE)
    with place.client() as client:
        health = client.health()
    facts: dict[str, Any] = {
        "running": True,
        "url": server.get("url"),
        "pid": server["pid"],
        "home": str(place.home.path),
        "uptime_s": round(time.time() - float(server["started"]), 1),
    }
    if json_output:
        print_json({**facts, "health": health})
    else:
        screen = Screen()
        screen.say(f"mediaray runs at {facts['url']} (process {facts['pid']}, up {duration(facts['uptime_s'])})")
        screen.details("health", health)


def _settings(*, root: list[Path] | None, **given: Any) -> "Settings":
    from cluster.settings import Settings  # slow to import

    roots = tuple(str(folder.absolute()) for folder in root) if root else None
    chosen = {**given, "roots": roots, "output_roots": roots}
    return Settings(**{name: value for name, value in chosen.items() if value is not None})


@reported
def renew_links(
    at_once: Annotated[bool, typer.Option("--at-once", help="End the links that are out, too.")] = False,
    json_output: Json = False,
) -> None:
    """Make a new key for signed links to pictures; links that are out stay good until they expire."""
    place = Place.here()
    place.home.renew_picture_key(keep=0 if at_once else 1)
    keys = len(place.home.picture_keys())
    if json_output:
        print_json({"live_keys": keys})
    else:
        Screen().say("A new key signs links from now on." + ("" if at_once else " Links of the last one stay good."))
