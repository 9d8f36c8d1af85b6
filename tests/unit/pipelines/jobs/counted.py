"""A pretend operation ``counted`` for the tests of cached results: one short unit that tells how often it was done."""

from collections.abc import Mapping
from pathlib import Path

from unit.pipelines.jobs.makers import Answer

from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench

done: list[str] = []


class Params(CommonParams):
    """``touches``: the source, while it is worked on."""

    level: int = 1
    letters: int = 0
    makes_a_file: bool = False
    touches: bool = False


def plan(_bench: Workbench) -> Plan:
    return Plan(units=(Unit(name="a", needs=Needs(cpus=0, max_cpus=0, seconds=0.1)),), warnings=("planned",))


def run(bench: Workbench, unit: Unit) -> Answer:
    done.append(unit.name)
    if bench.params.touches:
        Path(bench.sources[0]).write_bytes(b"touched")
    return Answer(text=f"{len(done)}{'x' * bench.params.letters}")


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    made: list[Made] = []
    if bench.params.makes_a_file:
        (bench.scratch / "file").write_text("made")
        made = [Made(bench.scratch / "file", "file.txt", "text/plain")]
    return Outcome(Answer.model_validate(units["a"].manifest), made, ("joined",))


OPERATION = Operation(
    *("counted", "Counted.", Params, Answer, plan, run, join),
    output="file",
    interactive=True,
    suffix=lambda _params, _profiles: ".txt",
    cached="analysis",
)
