"""Plans of files that take long: noted by the unit that made them, for the driver that has them carried out.

They lie in the notes of the job, by the name of that unit and the key of the file's row. Beside them is noted how far
those are that are under way.
"""

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cluster.home import write_private
from pipelines.jobs.models import Plan
from pipelines.jobs.workbench import Workbench

_UNDER_WAY = "under-way"


@dataclass(frozen=True)
class LongPlans:
    """The plans in a folder; what came of them lies in folders of ``scratch``, the job's."""

    folder: Path
    scratch: Path

    @classmethod
    def of(cls, bench: Workbench) -> "LongPlans":
        """Those of the job that ``bench`` is of."""
        return cls(bench.notes / "plans", bench.scratch.parent)

    def note(self, unit: str, key: str, plan: Plan) -> None:
        (self.folder / unit).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.path(unit, key), plan.model_dump_json())

    def has(self, unit: str, key: str) -> bool:
        """Whether a unit has noted the plan of a row."""
        return self.path(unit, key).exists()

    def path(self, unit: str, key: str) -> Path:
        return self.folder / unit / f"{key}.json"

    def tell(self, key: str, fraction: float) -> None:
        """How far a row is, 0 to 1."""
        (self.folder / _UNDER_WAY).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.folder / _UNDER_WAY / key, str(fraction))

    def clear_up(self, key: str, notes: Iterable[Path], units: Iterable[str]) -> None:
        """A row is done: remove the notes of its plans, and what these units of it left in scratch."""
        for note in (*notes, self.folder / _UNDER_WAY / key):
            note.unlink(missing_ok=True)
        left = set(units)
        for folder in self.scratch.iterdir():
            if folder.name.rpartition(".")[0] in left:  # behind the dot is the unit's fence
                shutil.rmtree(folder, ignore_errors=True)

    def under_way(self) -> float:
        """How many rows are done of those that are under way, by parts of them."""
        done = 0.0
        for note in (self.folder / _UNDER_WAY).glob("[!.]*"):
            with contextlib.suppress(FileNotFoundError, ValueError):
                done += float(note.read_text())
        return done


def read_plan(path: Path) -> Plan:
    return Plan.model_validate_json(path.read_text())
