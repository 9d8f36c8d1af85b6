"""One command per operation, made from the catalogue."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve.cli.display import display_for
from serve.cli.failures import FAILED, exit_code_of, reported
from serve.cli.launch import ensure_server
from serve.cli.options import files_of, folders_of, given_params, option_parameters
from serve.cli.render import Screen, print_json
from serve.cli.session import Place
from serve.cli.targets import COLLECTION, Target, granted, split_by_name, targets
from serve.cli.watch import watch

if TYPE_CHECKING:
    from pipelines.jobs.catalogue import Operation
    from serve.client import Client, JobView

PriorityName = Literal["low", "normal", "high", "urgent"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
_PANEL = "How"
_SOURCES = {False: "Media files.", True: "Files, or folders of them."}
_COLLECTIONS = "Collections: collection:NAME."
_SAME_NAME = (
    "Another of the sources has this name, and so would the result. Do this one by itself, with its own --output."
)
_OF_ONE = ("source_", "output_")  # codes of what is wrong with one source, not with all of the request


@dataclass(frozen=True)
class Refused:
    """A source that no job was made of, and why."""

    source: str
    code: str
    message: str


@dataclass(frozen=True)
class Order:
    """A job to be submitted. ``files``: what its parameters name beside sources and output.

    To ``folders`` among these it writes.
    """

    operation: str
    target: Target
    params: Mapping[str, Any]
    priority: str
    files: Sequence[str] = ()
    folders: Sequence[str] = ()


@dataclass(frozen=True)
class Wish:
    """What a command line asks for."""

    targets: Sequence[Target]
    params: Mapping[str, Any]
    priority: PriorityName
    explain: bool
    watch: bool
    as_json: bool
    files: Sequence[str] = ()
    folders: Sequence[str] = ()

    def params_for(self, target: Target) -> dict[str, Any]:
        return {**self.params, "output": target.output} if target.output else dict(self.params)


def operation_command(operation: "Operation") -> Callable[..., None]:
    """A function that typer makes a command of: its signature has an option for each parameter."""

    def run(**given: Any) -> None:
        chosen = _targets(operation, given.pop("sources"), given.pop("output", None))
        wish = Wish(
            targets=chosen,
            priority=given.pop("priority"),
            explain=given.pop("explain"),
            watch=given.pop("watch"),
            as_json=given.pop("json_output"),
            params=given_params(operation.params, given, output=chosen[0].output),
        )
        files, folders = files_of(operation.params, wish.params), folders_of(operation.params, wish.params)
        _carry_out(operation, replace(wish, files=files, folders=folders))

    own = option_parameters(operation.params, without=frozenset({"output"}))
    # Set apart from the function: typer reads the signature, and the names come from the model.
    run.__signature__ = inspect.Signature(_common(operation, own))  # type: ignore[attr-defined]
    run.__name__ = operation.name
    run.__doc__ = operation.summary
    return reported(run)


def _targets(operation: "Operation", sources: Sequence[str], output: str | None) -> list[Target]:
    names = operation.sources
    for each in sources:
        if operation.on_collection and not each.startswith(COLLECTION):
            meant = f"{COLLECTION}{'NAME' if '/' in each else each}"
            raise typer.BadParameter(f"{each!r} names no collection; write {meant!r}", param_hint="SOURCE")
    if len(names) > 1 and len(sources) != len(names):
        raise typer.BadParameter(f"give {len(names)}: {', then '.join(names)}", param_hint=_metavar(operation))
    return targets(sources, output, operation.output, many=operation.many or len(names) > 1)


def _metavar(operation: "Operation") -> str:
    names = operation.sources
    return " ".join(names).upper() if len(names) > 1 else "SOURCE..."


def _common(operation: "Operation", own: list[inspect.Parameter]) -> list[inspect.Parameter]:
    def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    sources_help = _COLLECTIONS if operation.on_collection else _SOURCES[operation.many]
    what = {"file": "The file to make, or a folder for it.", "folder": "The folder to fill.", "none": ""}
    output = [
        parameter(
            "output",
            Annotated[
                str | None,
                typer.Option(
                    "--output",
                    "-o",
                    metavar="OUT",
                    help=f"{what[operation.output]} Default: kept with the job.",
                ),
            ],
            None,
        )
    ]
    return [
        parameter("sources", Annotated[list[str], typer.Argument(metavar=_metavar(operation), help=sources_help)]),
        *(output if operation.output != "none" else []),
        *own,
        parameter(
            "explain",
            Annotated[bool, typer.Option("--explain", rich_help_panel=_PANEL, help="Show the plan; do nothing.")],
            False,
        ),
        parameter(
            "watch",
            Annotated[
                bool,
                typer.Option("--watch/--no-watch", rich_help_panel=_PANEL, help="Wait and show the progress."),
            ],
            True,
        ),
        parameter(
            "priority",
            Annotated[PriorityName, typer.Option(rich_help_panel=_PANEL, help="Before which other jobs.")],
            "normal",
        ),
        parameter(
            "json_output",
            Annotated[bool, typer.Option("--json", rich_help_panel=_PANEL, help="Print the finished job as JSON.")],
            False,
        ),
    ]


def _carry_out(operation: "Operation", wish: Wish) -> None:
    place = Place.here()
    ensure_server(place, Screen(stderr=True))
    apart, clashing = split_by_name(wish.targets)
    refused = [_refused(each, "output_in_use", _SAME_NAME, as_json=wish.as_json) for each in clashing]
    with place.client() as client:
        if wish.explain:
            with granted(place, apart, wish.files, wish.folders):
                _explain(client, operation.name, replace(wish, targets=apart), refused)
            return
        named = wish.files, wish.folders
        orders = [Order(operation.name, target, wish.params_for(target), wish.priority, *named) for target in apart]
        jobs, refused_too = submit_each(client, place, orders, as_json=wish.as_json)
        refused += refused_too
    if wish.watch and jobs:
        jobs = watch(place, jobs, display_for(jobs, as_json=wish.as_json))
    show_jobs(jobs, refused, told=operation.told, watched=wish.watch, as_json=wish.as_json)


def submit_each(
    client: "Client", place: Place, orders: Sequence[Order], *, as_json: bool
) -> tuple[list["JobView"], list[Refused]]:
    """A job for each order. Of several, one that is refused holds up none of the others."""
    from serve.client import ProblemError  # slow to import

    jobs: list[JobView] = []
    refused: list[Refused] = []
    for order in orders:
        target = order.target
        try:
            with granted(place, [target], order.files, order.folders):
                jobs.append(client.submit(order.operation, list(target.sources), order.params, order.priority))
        except ProblemError as error:
            if len(orders) == 1 or not error.code.startswith(_OF_ONE):
                raise
            refused.append(_refused(target, error.code, error.detail, as_json=as_json))
    return jobs, refused


def _refused(target: Target, code: str, message: str, *, as_json: bool) -> Refused:
    """Tells people at once."""
    if not as_json:
        Screen(stderr=True).error(f"{target.name}: {message} ({code})")
    return Refused(target.name, code, message)


def _several(name: str, made: Sequence[Any], refused: Sequence[Refused]) -> Any:
    """The document of what was made of one source, or of several."""
    if len(made) == 1 and not refused:
        return made[0]
    return {name: made, **({"refused": [asdict(each) for each in refused]} if refused else {})}


def show_jobs(
    jobs: Sequence["JobView"],
    refused: Sequence[Refused] = (),
    *,
    told: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    watched: bool,
    as_json: bool,
) -> None:
    """Print jobs after a command, of a result what ``told`` picks.

    Exits with 1 where one was refused or failed; with 2 where all that is wrong, with some of them, is what was asked.
    """
    screen = Screen()
    if as_json:
        print_json(_several("jobs", jobs, refused))
    elif jobs and not watched:
        for job in jobs:
            screen.say(f"{job.id}  {job.operation} {job.source_name}: {job.state}")
        screen.note("Watch it: mediaray jobs watch ID")
    elif len(jobs) == 1 and jobs[0].result:
        _show_result(screen, jobs[0], told)
    wrong = [job for job in jobs if job.state in ("failed", "cancelled") or (job.result or {}).get("failed")]
    if refused or wrong:
        codes = [each.code for each in refused] + [job.error.code if job.error else "" for job in wrong]
        raise typer.Exit(min(map(exit_code_of, codes)))


def _show_result(screen: Screen, job: "JobView", told: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None) -> None:
    result = job.result or {}
    screen.details("result", told(result) if told else result)
    if told:
        screen.note(f"All of it: mediaray jobs show {job.id}")


def _explain(client: "Client", operation: str, wish: Wish, refused: Sequence[Refused]) -> None:
    plans = [client.plan(operation, list(target.sources), wish.params_for(target)) for target in wish.targets]
    if wish.as_json:
        print_json(_several("plans", plans, refused))
    else:
        screen = Screen()
        for target, plan in zip(wish.targets, plans, strict=True):
            screen.plan(target.name, plan)
    if refused:
        raise typer.Exit(FAILED)
