"""Whether files that are missing are gone, or only the disk that they are on: then their rows are of use yet."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cluster.object_paths import is_object_uri
from pipelines.bulk.facts import device_in, facts_of

_FEW = 10  # so many missing files are no sign of a disk that is missing, however few there were


class Absence:
    """Of a collection with these rows, as things are now. Rows of objects in stores count for nothing here."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._known: Counter[str] = Counter()
        self._missing: Counter[str] = Counter()
        self._present: defaultdict[int, list[str]] = defaultdict(list)  # by the device as noted
        self._devices: dict[int, int | None] = {}  # as noted, and as it is now: the numbers change
        for row in rows:
            if is_object_uri(row["uri"]):
                continue
            self._known[row["root"]] += 1
            self._missing[row["root"]] += row["state"] == "missing"
            noted = device_in(row["stamp"])
            if row["state"] == "present" and noted is not None:
                self._present[noted].append(row["uri"])
        self._empty: dict[str, bool] = {}

    def doubt(self, row: Mapping[str, Any]) -> str | None:
        """Why a file that is missing may be there again some day, or ``None``."""
        root = row["root"]
        folder = _existing_above(row["uri"])
        if Path(row["uri"]).is_relative_to(root) and not folder.is_relative_to(root):
            return f"{root} isn't there, as of a disk that isn't mounted."
        if self._is_empty(root if Path(root).is_dir() else str(folder)):
            return f"{root} is empty or can't be read, as of a disk that isn't mounted."
        noted = device_in(row["stamp"])
        now = facts_of(str(folder))
        if noted is not None and now is not None and not self._is_on(noted, now.st_dev):
            return f"{folder} is on another disk now than the file was."
        if self._missing[root] > max(_FEW, self._known[root] // 2):
            return f"{self._missing[root]} of {self._known[root]} files of {root} are missing."
        return None

    def _is_on(self, noted: int, device: int) -> bool:
        """Whether a device that was noted is this one: if not by its number, by the first file of it that is there."""
        if noted == device:
            return True
        if noted not in self._devices:
            found = (facts.st_dev for uri in self._present[noted] if (facts := facts_of(uri)) is not None)
            self._devices[noted] = next(found, None)
        return self._devices[noted] == device

    def _is_empty(self, folder: str) -> bool:
        if folder not in self._empty:
            try:
                with os.scandir(folder) as entries:
                    self._empty[folder] = next(entries, None) is None
            except OSError:
                self._empty[folder] = True
        return self._empty[folder]


def _existing_above(uri: str) -> Path:
    folder = Path(uri).parent
    while not folder.is_dir():
        folder = folder.parent
    return folder
