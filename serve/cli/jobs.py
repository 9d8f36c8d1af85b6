"""``mediaray jobs``: look at jobs, and steer them."""

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.filesize import decimal

from serve.cli.display import JsonLines, display_for
from serve.cli.failures import FAILED, reported
from serve.cli.launch import ensure_server
from serve.cli.operations import Json, PriorityName, show_jobs, submit_each
from serve.cli.plans import orders_of
from serve.cli.render import Screen, print_json
from serve.cli.session import Place
from serve.cli.watch import watch

if TYPE_CHECKING:
    from serve.client import Client, JobView

StateName = Literal["queued", "planning", "running", "paused", "verifying", "succeeded", "failed", "cancelled"]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of jobs, or how they begin: see jobs list.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The job's id, or how it begins: see mediaray jobs list.")]
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_BEGINNING = re.compile("[0-9a-f-]{4,35}")  # shorter ones are more likely a slip than a job

app = typer.Typer(help="List, watch and steer jobs.", no_args_is_help=True)


@app.command("list")
@reported
def list_jobs(
    state: Annotated[StateName | None, typer.Option(help="Only jobs in this state.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only jobs of this operation.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 20,
    json_output: Json = False,
) -> None:
    """List jobs, newest first."""
    with Place.here().client() as client:
        found = list(itertools.islice(client.list(state, operation, min(limit, 100)), limit))
    if operation and not found:
        _check_operation(operation)
    if json_output:
        print_json({"jobs": found})
    elif found:
        Screen().jobs(found)
    else:
        Screen().say("No such jobs." if state or operation else "No jobs yet.")


def _check_operation(name: str) -> None:
    from serve.catalogue import catalogue  # slow to import

    if name not in catalogue():
        known = ", ".join(catalogue().names())
        raise typer.BadParameter(f"there is no operation {name}. There are: {known}", param_hint="--operation")


@app.command()
@reported
def show(job_id: Id, json_output: Json = False) -> None:
    """Show all about a job."""
    with Place.here().client() as client:
        job = client.get(_whole(client, job_id))
    if json_output:
        print_json(job)
    else:
        Screen().details(f"{job.operation} {job.source_name}", job.model_dump(mode="json"))


@app.command()
@reported
def files(job_id: Id, json_output: Json = False) -> None:
    """List the files that a job made."""
    with Place.here().client() as client:
        made = client.artifacts(_whole(client, job_id))
    if json_output:
        print_json({"artifacts": made})
    else:
        for artifact in made:
            Screen().say(f"{artifact.path or artifact.name}  ({decimal(artifact.size_bytes)})")


@app.command("watch")
@reported
def watch_jobs(job_ids: Ids, json_output: Json = False) -> None:
    """Watch jobs until they are finished. Ctrl-C leaves them running."""
    place = Place.here()
    with place.client() as client:
        jobs = [client.get(_whole(client, job_id)) for job_id in job_ids]
    jobs = watch(place, jobs, JsonLines() if json_output else display_for(jobs, as_json=False))
    if any(job.state != "succeeded" for job in jobs):
        raise typer.Exit(FAILED)


@app.command()
@reported
def cancel(job_ids: Ids, json_output: Json = False) -> None:
    """Cancel jobs. What they finished is kept for a retry."""
    _steer(
        *(job_ids, lambda client, job_id: client.cancel(job_id), json_output),
        late=lambda job: job.state != "cancelled",
        becomes="cancelled",
    )


@app.command()
@reported
def pause(job_ids: Ids, json_output: Json = False) -> None:
    """Pause jobs; they give their CPUs back."""
    _steer(
        *(job_ids, lambda client, job_id: client.pause(job_id), json_output),
        late=lambda job: job.state != "paused",
        becomes="paused",
    )


@app.command()
@reported
def resume(job_ids: Ids, json_output: Json = False) -> None:
    """Let paused jobs go on."""
    _steer(
        *(job_ids, lambda client, job_id: client.resume(job_id), json_output),
        late=lambda job: job.state == "paused",
        becomes="going on",
    )


@app.command()
@reported
def retry(
    job_id: Id,
    watch_it: Annotated[bool, typer.Option("--watch/--no-watch", help="Wait and show the progress.")] = True,
    json_output: Json = False,
) -> None:
    """Do a failed or cancelled job again, as a new job."""
    place = Place.here()
    with place.client() as client:
        jobs = [client.retry(_whole(client, job_id))]
    if watch_it:
        jobs = watch(place, jobs, display_for(jobs, as_json=json_output))
    show_jobs(jobs, told=_told_of(jobs[0]), watched=watch_it, as_json=json_output)


def _told_of(job: "JobView") -> Callable[[Mapping[str, Any]], Mapping[str, Any]] | None:
    from serve.catalogue import catalogue  # slow to import

    return catalogue()[job.operation].told if job.operation in catalogue() else None


@app.command()
@reported
def submit(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A file of jobs, as upgrade-candidates makes it.")],
    first: Annotated[int | None, typer.Option(min=1, help="Only so many: the first of them.")] = None,
    level: Annotated[PriorityName | None, typer.Option("--priority", help="Before which other jobs.")] = None,
    watch_it: Annotated[bool, typer.Option("--watch/--no-watch", help="Wait and show the progress.")] = True,
    json_output: Json = False,
) -> None:
    """Submit the jobs of a plan. One that is refused holds up no other."""
    orders = orders_of(plan, level)[:first]
    if not orders:
        if json_output:
            print_json({"jobs": []})
        else:
            Screen().say("There are no jobs in the plan.")
        return
    place = Place.here()
    ensure_server(place, Screen(stderr=True))
    with place.client() as client:
        jobs, refused = submit_each(client, place, orders, as_json=json_output)
    if watch_it and jobs:
        jobs = watch(place, jobs, display_for(jobs, as_json=json_output))
    show_jobs(jobs, refused, told=_told_of(jobs[0]) if jobs else None, watched=watch_it, as_json=json_output)


@app.command()
@reported
def priority(
    job_id: Id,
    level: Annotated[PriorityName, typer.Argument(metavar="low|normal|high|urgent", help="The new priority.")],
    json_output: Json = False,
) -> None:
    """Change a job's priority."""
    _steer([job_id], lambda client, job_id: client.set_priority(job_id, level), json_output)


@app.command()
@reported
def delete(job_ids: Ids, json_output: Json = False) -> None:
    """Remove finished jobs, and the artifacts kept with them. Files written to an output stay."""
    with Place.here().client() as client:
        whole = [_whole(client, job_id) for job_id in job_ids]
        for job_id in whole:
            client.delete(job_id)
    if json_output:
        print_json({"deleted": whole})
    else:
        Screen().say(f"Deleted: {', '.join(whole)}")


def _whole(client: "Client", given: str) -> str:
    """The id that begins so; what can't begin one, or begins none, as it is, for the server to refuse."""
    if not _BEGINNING.fullmatch(given):
        return given
    newest = itertools.islice(client.list(page_size=2, below=given + _LAST_ID[len(given) :]), 2)
    found = [job.id for job in newest if job.id.startswith(given)]
    if len(found) > 1:
        raise typer.BadParameter(f"several jobs' ids begin with {given}: {', '.join(found)}, …", param_hint="ID")
    return found[0] if found else given


def _steer(
    job_ids: list[str],
    action: Callable[["Client", str], "JobView"],
    as_json: bool,
    *,
    late: Callable[["JobView"], bool] | None = None,
    becomes: str = "",
) -> None:
    """Steer jobs, and show them. ``late``: which of them aren't yet what they become."""
    with Place.here().client() as client:
        whole = [_whole(client, job_id) for job_id in job_ids]
        jobs = [action(client, job_id) for job_id in whole]
    if as_json:
        print_json(jobs[0] if len(jobs) == 1 else {"jobs": jobs})
    else:
        Screen().jobs(jobs)
        if late and any(map(late, jobs)):
            Screen().note(f"Accepted: {becomes} in a moment.")
