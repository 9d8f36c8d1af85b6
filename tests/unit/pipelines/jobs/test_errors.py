import pickle

import pytest

from cluster.errors import (
    ChildCrashedError,
    ChildFailedError,
    ChildKilledError,
    ChildLimitError,
    StartupError,
    StorageError,
)
from pipelines.jobs.errors import ConflictError, InvalidError, UnknownError, job_error
from pipelines.media.errors import NotMediaError


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (ChildFailedError("encode_failed", "The encoder stopped.", {}), "encode_failed", True),
        (ChildFailedError("output_invalid", "It differs.", {}), "output_invalid", True),
        (ChildFailedError("not_media", "No media.", {}), "not_media", False),
        (ChildFailedError("limit_exceeded", "Too large.", {}), "limit_exceeded", False),
        (ChildFailedError("disk_full", "No space.", {}), "disk_full", False),
        (StorageError("output_lost", "Gone."), "output_lost", True),
        (StorageError("source_not_found", "None."), "source_not_found", False),
        (ChildCrashedError("signal SIGSEGV"), "child_crashed", True),
        (ChildLimitError("too slow"), "limit_time", True),
        (ChildKilledError("ended"), "internal", True),
        (NotMediaError("No media."), "not_media", False),
        (InvalidError("No such profile.", "profile_unknown"), "profile_unknown", False),
        (StartupError("no"), "internal", True),
        (RuntimeError("secret"), "internal", True),
    ],
)
def test_every_failure_has_a_code_and_says_whether_to_try_again(error, code, retryable):
    found = job_error(error, "chunk-3")
    assert (found.code, found.retryable, found.unit) == (code, retryable, "chunk-3")


def test_an_unexpected_error_s_text_stays_in_the_log():
    assert "secret" not in job_error(RuntimeError("secret"), "a").message


def test_a_child_s_message_reaches_the_client_as_it_is():
    assert job_error(ChildFailedError("not_media", "No media in a.mkv.", {}), "a").message == "No media in a.mkv."


@pytest.mark.parametrize(
    "error",
    [
        ChildFailedError("not_media", "No media.", {"name": "a"}),
        StorageError("disk_full", "Full."),
        ConflictError("Busy.", "output_in_use"),
        UnknownError("None."),
        InvalidError("Wrong.", problems=({"parameter": "crf", "message": "too high"},)),
    ],
)
def test_errors_survive_the_way_between_processes(error):
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), found.code, str(found)) == (type(error), error.code, str(error))
    assert vars(found) == vars(error)
