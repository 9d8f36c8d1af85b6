"""Open sources on their way to a child."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceDescriptor:
    """An open source; ``name`` is for messages only.

    With ``ranges``, a socket, its bytes are there only once the child has asked for them: see ``cluster.range_server``.
    """

    number: int
    name: str
    ranges: int | None = None
