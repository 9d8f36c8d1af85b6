"""``mediaray health``: all that the running server depends on, as the server finds it now."""

import typer
from rich.text import Text

from serve.cli.doctor import STYLES
from serve.cli.failures import FAILED, reported
from serve.cli.operations import Json
from serve.cli.render import Screen, print_json
from serve.cli.session import Place


@reported
def health(json_output: Json = False) -> None:
    """Have the server look at what it depends on: Redis, nodes, clocks, disks, storage, backups."""
    screen = Screen()
    with Place.here().client() as client, screen.waiting("Looking…"):
        told = client.health(deep=True)
    found = told["depends_on"]
    if json_output:
        print_json(told)
    else:
        screen.say(f"The server is {told['status']}, version {told['version']}.")
        screen.table(
            ("DEPENDS ON", "STATUS", "FOUND"),
            [(each["name"], Text(each["status"], style=STYLES[each["status"]]), each["found"]) for each in found],
        )
        for each in found:
            if each["advice"]:
                screen.say(f"{each['name']}: {each['advice']}", style=STYLES[each["status"]])
    if any(each["status"] == "fail" for each in found):
        raise typer.Exit(FAILED)
