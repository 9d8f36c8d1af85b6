"""The ``mediaray`` command: every command is put together here."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from serve.cli import backup, cache, catalogues, collections, deploy, jobs, server, webhooks
from serve.cli.capacity import capacity
from serve.cli.demo import demo
from serve.cli.doctor import doctor
from serve.cli.failures import WRONG_USAGE
from serve.cli.health import health
from serve.cli.node import node
from serve.cli.render import print_error

_OPERATIONS = "Operations"


class Commands(TyperGroup):
    """The commands written here, and one for each operation: those are loaded when one is asked for."""

    _complete = False

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:
        """As typer's; but with ``--json``, wrong usage is a document, as every other answer is."""
        given = sys.argv[1:] if args is None else list(args)
        if "--json" not in given:
            return super().main(given, *more, **options)
        try:
            exit_code = super().main(given, *more, **{**options, "standalone_mode": False})
        except typer.TyperException as error:
            print_error(WRONG_USAGE, error.format_message())
            exit_code = error.exit_code
        sys.exit(exit_code)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        written = list(self.commands)
        self._add_operations()
        return [*sorted(self.commands.keys() - set(written)), *written]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._add_operations()
        return super().get_command(ctx, cmd_name)

    def _add_operations(self) -> None:
        if self._complete:
            return
        from serve.catalogue import catalogue  # slow to import
        from serve.cli.operations import operation_command  # slow to import

        self._complete = True
        for operation in catalogue():
            alone = typer.Typer(add_completion=False)
            alone.command(operation.name, rich_help_panel=_OPERATIONS)(operation_command(operation))
            self.add_command(typer.main.get_command(alone), operation.name)


app = typer.Typer(
    name="mediaray",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Start with: mediaray demo. Every command has --json. "
    "Exit codes: 0 done, 1 a job failed, 2 wrong usage, 3 no server.",
)
app.command(rich_help_panel="Jobs and profiles")(catalogues.operations)
app.command(rich_help_panel="Jobs and profiles")(catalogues.profiles)
app.add_typer(jobs.app, name="jobs", rich_help_panel="Jobs and profiles")
app.add_typer(collections.app, name="collections", rich_help_panel="Jobs and profiles")
app.command(rich_help_panel="Server")(server.up)
app.command(rich_help_panel="Server")(server.down)
app.command(rich_help_panel="Server")(server.status)
app.command(rich_help_panel="Server")(capacity)
app.command(rich_help_panel="Server")(health)
app.command(rich_help_panel="Server")(node)
app.add_typer(deploy.app, name="deploy", rich_help_panel="Server")
app.command(rich_help_panel="Server")(server.renew_links)
app.command(rich_help_panel="Server")(backup.backup)
app.command(rich_help_panel="Server")(backup.restore)
app.add_typer(cache.app, name="cache", rich_help_panel="Server")
app.add_typer(webhooks.app, name="webhooks", rich_help_panel="Server")
app.command(rich_help_panel="Start here")(doctor)
app.command(rich_help_panel="Start here")(demo)


@app.callback()
def mediaray() -> None:
    """Do media work as durable background jobs: films, sound and pictures."""


def main() -> None:
    sys.exit(app(prog_name="mediaray"))


if __name__ == "__main__":
    main()
