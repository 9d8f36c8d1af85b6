"""What of the cluster's time owners and their jobs have had, as far as turns go by it. Pure."""

from dataclasses import dataclass, field

_CREDIT_S = 60.0  # what somebody who could not be served may catch up on, at most


@dataclass
class _Level:
    """Seconds that each of some who take turns has had. ``turn``: what had been had by whose turn it was last."""

    served: dict[str, float] = field(default_factory=dict)
    turn: float = 0.0

    def enter(self, name: str) -> None:
        self.served[name] = max(self.served.get(name, 0.0), self.turn)

    def of(self, name: str) -> float:
        return max(self.served.get(name, self.turn), self.turn - _CREDIT_S)

    def begin(self, name: str, cost_s: float) -> None:
        self.turn = max(self.turn, self.of(name))
        if name in self.served:
            self.served[name] = self.of(name) + cost_s

    def give_back(self, name: str, cost_s: float) -> None:
        if name in self.served:
            self.served[name] -= cost_s


class Shares:
    """CPU-seconds that owners, and jobs of each owner, have been given, as plans estimate what units take.

    Not as measured: that is known when a unit ends, and until then others come in behind too little. What was measured
    beyond the estimate, on a machine that had just started, left a film standing for two minutes.

    Whoever comes, or isn't known, counts as one who has had as much as those whose turn it is: time that nobody asked
    for isn't owed to anybody. So of those who always want more, each gets as much as every other, however long their
    units are (start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996).
    """

    def __init__(self) -> None:
        self._owners = _Level()
        self._jobs: dict[str, _Level] = {}

    def enter(self, owner: str, job_id: str) -> None:
        """A job has work to do, or wants to go on after it wanted nothing."""
        if owner not in self._jobs:
            self._owners.enter(owner)
        self._jobs.setdefault(owner, _Level()).enter(job_id)

    def leave(self, owner: str, job_id: str) -> None:
        """A job has ended, or wants nothing until it enters again."""
        level = self._jobs.get(owner, _Level())
        level.served.pop(job_id, None)
        if not level.served:
            self._jobs.pop(owner, None)
            self._owners.served.pop(owner, None)

    def begin(self, owner: str, job_id: str, cost_s: float) -> None:
        """It is this job's turn: a unit of it begins."""
        self._owners.begin(owner, cost_s)
        if owner in self._jobs:
            self._jobs[owner].begin(job_id, cost_s)

    def give_back(self, owner: str, job_id: str, cost_s: float) -> None:
        """A unit that was begun with this cost was taken back before anybody worked on it."""
        self._owners.give_back(owner, cost_s)
        if owner in self._jobs:
            self._jobs[owner].give_back(job_id, cost_s)

    def of_owner(self, owner: str) -> float:
        return self._owners.of(owner)

    def of_job(self, owner: str, job_id: str) -> float:
        return self._jobs[owner].of(job_id) if owner in self._jobs else 0.0
