"""Which failures are a file's own fault: whoever asks again for the same content is told the same, for a while."""

from cluster.cache import Address, Cache, Look
from cluster.errors import ChildFailedError
from pipelines.jobs.errors import job_error
from pipelines.jobs.models import JobError

_OWN_FAULTS = frozenset(
    {
        *("source_unreadable", "source_truncated", "not_media", "source_unsupported"),
        *("stream_not_found", "no_video_stream", "no_audio_stream"),
    }
)


def known_fault(look: Look) -> JobError | None:
    """The failure that was found at an address."""
    return JobError.model_validate_json(look.value) if look.kind == "negative" and look.value else None


def kept_fault(cache: Cache, at: Address, look: Look, error: ChildFailedError, unit: str) -> JobError:
    """What is told of ``error``, kept for those who ask next where it is the file's own."""
    told = job_error(error, unit)
    if told.code in _OWN_FAULTS:
        cache.put(at, told.model_dump_json(), "negative", look)
    return told
