"""A driver's end of its batches: it asks the dispatcher to have them done, each in its turn."""

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
        dispatcher: Any = ray.get_actor(DISPATCHER, namespace=NAMESPACE)
        report: UnitReport = ray.get(dispatcher.do_batch.remote(self, batch))
        return report
