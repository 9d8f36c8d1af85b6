"""``mediaray deploy``: the files to run on machines of your own, in a cloud and on Kubernetes."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cluster.deploy.platforms import PLAIN_FILES, PLATFORMS, Platform, rendered, text_of
from serve.cli.options import given_params, option_parameters

app = typer.Typer(
    no_args_is_help=True,
    help="Print a file to deploy with: for ray up (aws, gcp, azure), for KubeRay (kubernetes), or one as it is (file).",
)


@app.command("file")
def plain(name: Annotated[str, typer.Argument(help=f"One of {', '.join(PLAIN_FILES)}.")]) -> None:
    """Print a file that takes its values from the environment."""
    if name not in PLAIN_FILES:
        raise typer.BadParameter(f"there is no such file; there are {', '.join(PLAIN_FILES)}")
    typer.echo(text_of(name), nl=False)


def _command(platform: type[Platform]) -> Callable[..., None]:
    def command(**options: Any) -> None:
        typer.echo(rendered(platform.model_validate(given_params(platform, options))), nl=False)

    command.__doc__ = f"Print {platform.file} with your values in it."
    # typer reads a command's flags off its signature.
    command.__signature__ = inspect.Signature(option_parameters(platform, frozenset()))  # type: ignore[attr-defined]
    return command


for _name, _platform in PLATFORMS.items():
    app.command(_name)(_command(_platform))
