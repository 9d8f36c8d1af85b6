"""A pretend operation ``pieces`` for the tests of a worker: two units, a join, and what goes wrong when asked to."""

from collections.abc import Mapping
from typing import Any

from unit.pipelines.jobs.makers import Answer

from cluster.errors import ChildFailedError
from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench

KEY = "ab" * 32
_SHORT = Needs(cpus=0, max_cpus=0, seconds=0.1)


class Params(CommonParams):
    """``replans``: how often the join asks for another plan before it is content."""

    replans: int = 0
    calls: str | None = None  # a media function that each unit calls
    short: bool = False  # one unit, and a short one
    makes_files: bool = False  # the join: one of a unit's and one of its own
    checks: bool = False  # the join: that each piece is as it was made


class Piece(Answer):
    """What a unit saw."""

    slots: int
    shared: dict[str, Any]


def plan(bench: Workbench) -> Plan:
    if bench.params.short:
        return Plan(units=(Unit(name="a", needs=_SHORT),), shared={"from": "plan"})
    return Plan(units=(Unit(name="a", key=KEY), Unit(name="b")), shared={"from": "plan"})


def run(bench: Workbench, unit: Unit) -> Piece:
    if bench.params.calls:
        bench.call(bench.params.calls, Answer, bench.sources[0])
    (bench.scratch / "piece").write_text(f"made by {bench.scratch_name}")
    return Piece(text=unit.name, slots=bench.slots, shared=dict(bench.shared))


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome | Plan:
    broken = [str(file) for unit in units.values() if "made by" not in (file := unit.folder / "piece").read_text()]
    if bench.params.checks and broken:
        raise ChildFailedError("piece_invalid", "It has changed.", {"pieces": broken})
    whole = "whole" in units
    if bench.params.replans > whole:
        return Plan(units=(Unit(name="whole"),), shared={"from": "join"})
    told = [f"{name}{'*' if unit.reused else ''} {(unit.folder / 'piece').read_text()}" for name, unit in units.items()]
    made: list[Made] = []
    if bench.params.makes_files:
        (bench.scratch / "joined").write_text("by the join")
        files = {"b.txt": units["b"].folder / "piece", "joined.txt": bench.scratch / "joined"}
        made = [Made(path, name, "text/plain") for name, path in files.items()]
    return Outcome(Answer(text=", ".join(told)), made)


OPERATION = Operation("pieces", "Pieces.", Params, Answer, plan, run, join)
