"""``mediaray node``."""

from typing import Annotated

import typer

from serve.cli.failures import reported, warn_of_unknown_settings
from serve.cli.operations import Json


@reported
def node(
    join: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Work for the cluster whose head is there.")
    ] = None,
    head: Annotated[bool, typer.Option("--head", help="Be the head of a new cluster: it does no work.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of a new head.")] = 6379,
    ip: Annotated[
        str | None, typer.Option(help="Address at which other nodes reach this machine.  [default: found out]")
    ] = None,
    dashboard_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Have a new head take Ray's jobs, on this port of loopback.  [default: none]"
        ),
    ] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs for work.  [default: all]")] = None,
    json_output: Json = False,  # noqa: ARG001 errors are told by it
) -> None:
    """Make this machine a node of a cluster, in the foreground. Ctrl-C takes it off again."""
    from cluster.node import NodeSpec, become_node
    from cluster.settings import Settings  # slow to import

    if head == (join is not None):
        raise typer.BadParameter("say either --join HOST:PORT or --head")
    if dashboard_port is not None and not head:
        raise typer.BadParameter("--dashboard-port goes with --head")
    settings = Settings() if cpus is None else Settings(cpus=cpus)
    warn_of_unknown_settings()
    become_node(NodeSpec(join or f"{ip or '127.0.0.1'}:{port}", head, ip, dashboard_port), settings)
