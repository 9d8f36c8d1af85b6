"""``make bench``: our figure, the peer's or the bar, and the ratio. Run it on a machine that does nothing else.

python -m tests.bench [NAME…]     start latency events flood cancel transcode codecs seams films eta memory slots fsync
                                  images pictures analysis storyboard thumbnails compare scenes validation damages
                                  quality upgrades inspect cache autoscale
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import (
    bulk,
    cache,
    chunks,
    comparison,
    durability,
    edge,
    encode,
    films,
    images,
    inspection,
    quality,
    scaling,
    scenes,
    storyboard,
    thumbnails,
    upgrades,
    validation,
    whole,
)
from tests.bench.figures import Figure

BENCHES: dict[str, Callable[[], list[Figure]]] = {
    "start": whole.start_and_idle,
    "latency": edge.latency,
    "events": edge.events,
    "flood": whole.flood,
    "cancel": whole.cancel,
    "transcode": encode.transcode,
    "codecs": encode.codecs,
    "seams": encode.seams,
    "films": films.films,
    "eta": chunks.eta,
    "memory": chunks.memory,
    "slots": chunks.slots,
    "fsync": durability.fsync,
    "images": images.images,
    "pictures": images.pictures,
    "analysis": images.analysis,
    "storyboard": storyboard.storyboards,
    "thumbnails": thumbnails.thumbnails,
    "compare": comparison.compare,
    "scenes": scenes.scenes,
    "validation": validation.validation,
    "damages": validation.damages,
    "quality": quality.quality,
    "inspect": inspection.inspection,
    "upgrades": upgrades.upgrades,
    "library": bulk.library,
    "bulk": bulk.bulk,
    "cache": cache.cache,
    "autoscale": scaling.autoscale,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; default all")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    console = Console()
    console.print(f"Python {platform.python_version()}, Ray {version('ray')}, av {version('av')}")
    console.print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}")
    figures: list[Figure] = []
    for name in given.names or BENCHES:
        measured = BENCHES[name]()
        console.print(_table(name, measured))  # at once: all together take hours
        figures += measured
        if given.json:
            given.json.write_text(json.dumps([figure.__dict__ for figure in figures], indent=1))


def _table(name: str, figures: Sequence[Figure]) -> Table:
    table = Table(title=name)
    for column in ("what", "ours", "peer or bar", "ratio", "how"):
        table.add_column(column)
    for figure in figures:
        table.add_row(*figure.row())
    return table


if __name__ == "__main__":
    main()
