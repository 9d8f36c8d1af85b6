"""A driver's end of its batches: it asks the dispatcher to have them done, each in its turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from pipelines.jobs.models import Unit
from pipelines.jobs.orders import DISPATCHER, NAMESPACE, UnitReport


@dataclass(frozen=True)
class Driver:
    """Which unit of which job asks, under which fence. May be sent to another process."""

    job_id: str
    unit: str
    fence: int

    def do(self, batch: Unit) -> UnitReport:
        """Have a batch done, and wait for it: ``done`` once it is committed, ``failed`` after all tries.

        How long it took is told where its worker could tell. One that was done before is ``done``.

        ``dropped``: the driver was taken away, and nobody waits for it any more. Raises RayError where the dispatcher
        is gone.
        """
        report: UnitReport = ray.get(_dispatcher().do_batch.remote(self, batch))
        return report

    def forget(self, names: Sequence[str]) -> None:
        """Have the store forget batches that were done: there may be thousands of a film, and their results are kept.

        Raises RayError as ``do``.
        """
        ray.get(_dispatcher().forget_batches.remote(self, names))


def _dispatcher() -> Any:
    return ray.get_actor(DISPATCHER, namespace=NAMESPACE)
