"""Batches: units that a running unit of the same job, its driver, asks for. They are in no plan. Pure."""

import asyncio
from collections.abc import Container, Mapping

from pipelines.jobs.models import Unit, UnitStatus
from pipelines.jobs.orders import UnitReport


class Batches:
    """What the driver of a job waits for."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[Unit, asyncio.Future[UnitReport]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._asked

    def ask(self, batch: Unit, answer: asyncio.Future[UnitReport]) -> None:
        self._asked[batch.name] = (batch, answer)

    def waiting(self, units: Mapping[str, UnitStatus], flights: Container[str]) -> list[Unit]:
        """Those that may start, in the order they were asked for."""
        return [
            batch
            for name, (batch, _) in self._asked.items()
            if name not in flights and (name not in units or units[name].state == "waiting")
        ]

    def settle(self, name: str, report: UnitReport) -> None:
        """Tell the driver how a batch went."""
        _, answer = self._asked.pop(name)
        if not answer.done():
            answer.set_result(report)

    def forget(self) -> list[str]:
        """The driver is gone: nobody waits for any. Their names."""
        names = list(self._asked)
        for name in names:
            self.settle(name, UnitReport("dropped"))
        return names
