"""What differs between kinds of stores: how Arrow reaches them; how they tell versions, lists and refusals.

Arrow finds credentials where each store's own programs do: in this process's environment, a profile, or the machine's
role. It tries again, with back-off, what may pass.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from pydantic import BaseModel

_TRIES = 5
_CONNECT_S = 5.0
_NS = 10**9


class StoreAddresses(BaseModel, frozen=True):
    """How stores are reached that aren't where they are by default. No secret is among it."""

    s3_endpoint: str | None = None
    gcs_endpoint: str | None = None
    gcs_anonymous: bool = False
    azure_account: str | None = None
    azure_endpoint: str | None = None
    try_s: float = 20.0  # Google's: so long it is tried again


@dataclass(frozen=True)
class Noted:
    """What a store notes of an object. ``tag`` is another for all else that has had its name."""

    size_bytes: int
    tag: str
    modified_s: int


@dataclass(frozen=True)
class Listed:
    """An object below a folder, or a folder in it, by its path that begins with the bucket."""

    path: str
    is_folder: bool
    size_bytes: int
    modified_s: int


class Kind(ABC):
    """A kind of store. Paths begin with the bucket. What Arrow raises is told by ``refusal``."""

    apart = False  # whether it is asked in a process apart: see cluster.apart
    shows_unfinished = False  # whether an object that is being written has its name already, and hides what had it

    @abstractmethod
    def connect(self, addresses: StoreAddresses) -> Any:
        """Arrow's file system."""

    def note(self, filesystem: Any, path: str) -> Noted:
        """What is there now. Raises FileNotFoundError, and what else Arrow raises."""
        file = filesystem.open_input_file(path)
        noted = {name.lower(): value.decode() for name, value in file.metadata().items()}
        if noted.get("copy-status") == "pending":  # in Azure: it has its name, and isn't whole yet
            raise FileNotFoundError(path)
        tag = " ".join(noted.get(name, "") for name in ("etag", "last-modified"))
        return Noted(file.size(), tag, int(datetime.fromisoformat(noted["last-modified"]).timestamp()))

    def listed(self, filesystem: Any, folder: str) -> Iterable[Listed]:
        """What is in a folder; or all that is below it, where it isn't told folder by folder."""
        return _listed(filesystem, folder, recursive=False)

    def lacks_bucket(self, filesystem: Any, bucket: str) -> bool:
        """Whether the store says that there is no such bucket."""
        return bool(filesystem.get_file_info(bucket).type.name == "NotFound")

    @abstractmethod
    def refusal(self, told: str) -> tuple[str, str]:
        """Of what Arrow says: the store's code for it, and the status of HTTP; empty where there is none."""


class _S3(Kind):
    # At the begin, or behind the names of the key, which may hold anything, and of the bucket, which holds no quotes.
    _REASON = re.compile(r"(?:^|bucket '[^']*': )AWS Error (\w+)(?: \(HTTP status (\d+)\))? during ")

    def connect(self, addresses: StoreAddresses) -> Any:
        from pyarrow import fs  # takes 0.2 s and 60 MB, which a server without object storage has no use for

        tries = fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES)
        reached = _reached(addresses.s3_endpoint, "scheme", "endpoint_override")
        return fs.S3FileSystem(retry_strategy=tries, connect_timeout=_CONNECT_S, **reached)

    def refusal(self, told: str) -> tuple[str, str]:
        return _last(self._REASON, told)


class _Google(Kind):
    apart = True
    _REASON = re.compile(r"^(?:\[Errno \d+\] )?google::cloud::Status\((\w+)()")

    def connect(self, addresses: StoreAddresses) -> Any:
        from pyarrow import fs

        # Without credentials Arrow's default is http.
        reached = {"scheme": "https", **_reached(addresses.gcs_endpoint, "scheme", "endpoint_override")}
        limit = timedelta(seconds=addresses.try_s)
        return fs.GcsFileSystem(anonymous=addresses.gcs_anonymous, retry_time_limit=limit, **reached)

    def note(self, filesystem: Any, path: str) -> Noted:
        """By when it was made, in milliseconds: a name is written once a second at most.

        To open an object, Arrow asks for all of it, and stops reading.
        """
        info = filesystem.get_file_info(path)
        if not info.is_file:
            raise FileNotFoundError(path)
        return Noted(info.size, str(info.mtime_ns), int(info.mtime_ns // _NS))

    def listed(self, filesystem: Any, folder: str) -> Iterable[Listed]:
        """All that is below: of a folder alone, Arrow doesn't tell which folders are in it."""
        found = _listed(filesystem, folder, recursive=True)
        return (each for each in found if not each.is_folder and "//" not in each.path)

    def lacks_bucket(self, _filesystem: Any, _bucket: str) -> bool:
        """Not told: to look at a bucket takes a right that those who only read and write objects don't have."""
        return False

    def refusal(self, told: str) -> tuple[str, str]:
        return _last(self._REASON, told)


class _Azure(Kind):
    apart = True
    shows_unfinished = True  # Arrow makes an empty blob first
    _REASON = re.compile(r"Azure Error: \[(\w*)\] (?:(\d{3}) )?")

    def connect(self, addresses: StoreAddresses) -> Any:
        from pyarrow import fs

        if addresses.azure_account is None:
            raise ValueError("az:// needs the name of an account: MEDIARAY_AZURE_ACCOUNT")
        # As Microsoft's own programs read them; Arrow leaves these two to its callers.
        secrets = {"account_key": os.environ.get("AZURE_STORAGE_KEY")}
        if not secrets["account_key"]:
            secrets = {"sas_token": os.environ.get("AZURE_STORAGE_SAS_TOKEN")}
        reached = {
            **_reached(addresses.azure_endpoint, "blob_storage_scheme", "blob_storage_authority"),
            **_reached(addresses.azure_endpoint, "dfs_storage_scheme", "dfs_storage_authority"),
        }
        return fs.AzureFileSystem(addresses.azure_account, **secrets, **reached)

    def refusal(self, told: str) -> tuple[str, str]:
        return _last(self._REASON, told)


KINDS = {"s3": _S3(), "gs": _Google(), "az": _Azure()}


@cache
def filesystem(scheme: str, addresses: StoreAddresses) -> Any:
    """Arrow's, one for all of this process."""
    return KINDS[scheme].connect(addresses)


def arrow_errors() -> tuple[type[Exception], ...]:
    """What Arrow raises where a store refuses: it has types for little of it."""
    import pyarrow as pa

    return OSError, ValueError, pa.ArrowException


def _listed(store: Any, folder: str, *, recursive: bool) -> Iterable[Listed]:
    from pyarrow import fs

    found = store.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=recursive))
    for each in found:
        is_folder = each.type == fs.FileType.Directory
        if each.path.startswith(f"{folder}/") and not each.path.endswith("/"):  # a//b is told as the folder a once more
            size_bytes, modified_ns = (0, 0) if is_folder else (each.size, each.mtime_ns)
            yield Listed(each.path, is_folder, size_bytes, int(modified_ns // _NS))


def _reached(endpoint: str | None, scheme: str, authority: str) -> dict[str, str]:
    protocol, _, address = (endpoint or "").partition("://")
    return {scheme: protocol, authority: address.rstrip("/")} if address else {}


def _last(reason: re.Pattern[str], told: str) -> tuple[str, str]:
    found: list[tuple[str, str]] = reason.findall(told)
    return found[-1] if found else ("", "")
