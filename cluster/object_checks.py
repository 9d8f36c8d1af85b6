"""Whether the object stores that roots name can be reached with the credentials that there are."""

from collections.abc import Callable, Iterable

from cluster.checks import Check
from cluster.errors import StorageError
from cluster.grants import current_roots
from cluster.object_paths import ObjectPath
from cluster.objects import object_store
from cluster.settings import Settings

_MOST = 16  # roots that are looked at
_ADVICE = (
    "Jobs that read or write there fail. The server's own environment has to have the store's credentials, with the "
    "right to list, read and write the bucket, and its region or address: see Object storage in docs/operations.md."
)


def granted_objects_check(settings: Settings) -> Check:
    """Look at the roots that may be read and written now. Waits for their stores."""
    access = current_roots(settings).objects
    roots = (*access.read, *access.write) if access else ()
    return objects_check(roots, object_store(settings.stores).look)


def objects_check(roots: Iterable[ObjectPath], look: Callable[[ObjectPath], None]) -> Check:
    """``look`` at each of the roots. Waits for the stores."""
    looked = sorted(set(roots), key=str)[:_MOST]
    if not looked:
        return Check("object storage", "ok", "none: no root names any")
    troubles = [trouble for root in looked if (trouble := _trouble(root, look))]
    if troubles:
        return Check("object storage", "fail", " ".join(troubles), _ADVICE)
    return Check("object storage", "ok", f"reached: {', '.join(map(str, looked))}")


def _trouble(root: ObjectPath, look: Callable[[ObjectPath], None]) -> str | None:
    try:
        look(root)
    except StorageError as error:
        return error.message
    return None
