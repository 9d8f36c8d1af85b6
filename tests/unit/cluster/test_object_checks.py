import pytest
from object_server import BUCKET

from cluster.checks import Check
from cluster.errors import StorageError
from cluster.object_checks import objects_check
from cluster.object_paths import ObjectPath, object_path


def looked(*roots: str, error: StorageError | None = None) -> Check:
    def look(path: ObjectPath) -> None:
        if error is not None and "denied" in str(path):
            raise error

    return objects_check(map(object_path, roots), look)


def test_without_a_root_in_a_store_none_is_asked():
    found = objects_check((), lambda _: pytest.fail("nothing is to be asked"))
    assert (found.status, found.found) == ("ok", "none: no root names any")


def test_a_root_that_may_be_read_and_written_is_looked_at_once():
    found = looked(f"s3://{BUCKET}/films/", f"s3://{BUCKET}/web/", f"s3://{BUCKET}/films")
    assert (found.status, found.found) == ("ok", f"reached: s3://{BUCKET}/films, s3://{BUCKET}/web")


def test_a_root_that_is_denied_fails_and_says_what_credentials_have_to_do():
    error = StorageError("source_unreadable", "The store denies access.")
    found = looked(f"s3://{BUCKET}/films", f"s3://{BUCKET}/denied", error=error)
    assert (found.status, found.found) == ("fail", "The store denies access.")
    assert "credentials" in found.advice
