"""``mediaray capacity``: what runs and what is free, what is to be done, when it is, and what more nodes change."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.filesize import decimal

from serve.cli.failures import reported
from serve.cli.operations import Json
from serve.cli.render import Screen, duration, print_json
from serve.cli.session import Place

_BOUNDS = {
    "cpus": "what CPUs there are",
    "memory": "what memory there is",
    "longest_unit": "one unit that can't be cut: more nodes don't make it shorter",
}


@reported
def capacity(
    nodes: Annotated[
        int | None,
        typer.Option(min=1, max=1000, metavar="N", help="Tell what N more nodes would change.  [default: 1, 2 and 4]"),
    ] = None,
    json_output: Json = False,
) -> None:
    """Show what is free, what the backlog needs, when it is done, and what more nodes would change."""
    with Place.here().client() as client:
        told = client.capacity(nodes)
    if json_output:
        print_json(told)
        return
    screen = Screen()
    screen.table(("", "IN USE", "FREE", "TOTAL"), _in_use(told))
    screen.table(
        ("NODES", "CPUS EACH", "GPUS EACH", "MEMORY EACH", "FREE"),
        [
            (
                str(each["nodes"]),
                str(each["cpus_each"]),
                f"{each['gpus_each']} {each['gpu_type'] or ''}".strip(),
                decimal(each["memory_each_bytes"]),
                f"{each['free_cpus']:g} CPUs, {each['free_gpus']:g} GPUs, {decimal(each['free_memory_bytes'])}",
            )
            for each in told["nodes"]
        ],
    )
    _show_backlog(screen, told["backlog"])
    if told["backlog"]["jobs"] and told["more_nodes"]:
        screen.table(
            ("MORE NODES", "CPUS", "DONE IN", "SOONER BY"),
            [
                (f"+{each['nodes']}", str(each["cpus"]), _in(each["eta_s"]), _in(each["saved_s"]))
                for each in told["more_nodes"]
            ],
        )


def _in_use(told: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name, title in (("cpus", "CPUs for work"), ("interactive", "interactive slots")):
        share = told[name]
        yield title, str(share["in_use"]), str(share["free"]), str(share["total"])
    memory = told["memory"]
    yield "memory for work", decimal(memory["in_use"]), decimal(memory["free"]), decimal(memory["total"])


def _show_backlog(screen: Screen, backlog: Mapping[str, Any]) -> None:
    paused = f" {backlog['paused_jobs']} more are paused." if backlog["paused_jobs"] else ""
    if not backlog["jobs"]:
        screen.say(f"Nothing is to be done.{paused}")
        return
    screen.table(
        ("OPERATION", "JOBS", "UNITS", "CPU TIME", "RECKONED BY"),
        [
            (
                each["operation"],
                str(each["jobs"]),
                str(each["units"]),
                duration(each["cpu_s"]),
                "what such work has cost" if each["measured"] else "estimates",
            )
            for each in backlog["operations"]
        ],
    )
    if backlog["eta_s"] is None:
        screen.say(f"No node is there to do it: it waits.{paused}", style="yellow")
        return
    least = "at least " if backlog["unknown_jobs"] else ""
    by = f"; that hangs on {_BOUNDS[backlog['bound']]}" if backlog["bound"] in _BOUNDS else ""
    screen.say(f"All of it takes {least}{duration(backlog['eta_s'])}, until {backlog['done_at']}{by}.{paused}")
    if backlog["unknown_jobs"]:
        screen.note(f"Of {backlog['unknown_jobs']} jobs it isn't known yet what they need, or not all.")


def _in(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
