"""``mediaray doctor``: what this machine can do, and what it lacks."""

from dataclasses import asdict

import typer
from rich.text import Text

from serve.cli.failures import FAILED, reported
from serve.cli.operations import Json
from serve.cli.render import Screen, print_json
from serve.cli.session import Place

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@reported
def doctor(json_output: Json = False) -> None:
    """Check this machine: encoders, Redis, sandbox, memory, ports, disk. Needs no server."""
    from serve.cli.checks import machine_checks  # slow to import
    from serve.cli.service_checks import service_checks  # slow to import

    place = Place.here()
    screen = Screen()
    with screen.waiting("Trying things out…"):
        checks = [*machine_checks(place.home), *service_checks(place.settings, place.home)]
    failed = any(check.status == "fail" for check in checks)
    if json_output:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        screen.table(
            ("CHECK", "STATUS", "FOUND"),
            [(each.name, Text(each.status, style=STYLES[each.status]), each.found) for each in checks],
        )
        for check in checks:
            if check.advice:
                screen.say(f"{check.name}: {check.advice}", style=STYLES[check.status])
    if failed:
        raise typer.Exit(FAILED)
