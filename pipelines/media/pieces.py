"""Whether the pieces of an output, chunks and sound tracks, are whole and make one film."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

from pipelines.media.errors import OutputInvalidError, PieceInvalidError
from pipelines.media.mux import sha256_of
from pipelines.media.plan import TranscodePlan
from pipelines.media.results import ChunkResult, EncodedChunk, EncodedSound, Seams

_PERCENTILE = 95

_Number = TypeVar("_Number", int, float)


def check_borders(results: Sequence[ChunkResult], plan: TranscodePlan) -> None:
    """Raise where a frame was lost, taken twice or made up between chunks or in one.

    A chunk of a damaged film may lack frames: see ``missing_frames``.

    Raises:
        OutputInvalidError: the chunks don't make one film.
    """
    if [result.number for result in results] != [chunk.number for chunk in plan.chunks]:
        raise OutputInvalidError(f"{len(results)} chunks came of {len(plan.chunks)}.")
    for result in results:
        if not result.frames:
            raise OutputInvalidError(f"Chunk {result.number} is empty: not one of its frames decodes.")
    for before, after in pairwise(results):
        if before.source_beyond_pts != after.source_first_pts or known(before.last_pts) >= known(after.first_pts):
            raise OutputInvalidError(f"Chunks {before.number} and {after.number} don't follow each other.")
        if before.extradata != after.extradata:
            raise OutputInvalidError(f"Chunks {before.number} and {after.number} need different decoders.")
    for result, chunk in zip(results, plan.chunks, strict=True):
        missing = result.planned_frames - result.source_frames
        if missing < 0 or (missing > chunk.leading and not result.decode_errors):
            raise OutputInvalidError(
                f"Chunk {result.number} has {result.source_frames} of {result.planned_frames} frames."
            )


def missing_frames(results: Sequence[ChunkResult], plan: TranscodePlan) -> int:
    """How many frames damage took; those shown before the film's first keyframe don't count."""
    missing = (result.planned_frames - result.source_frames for result in results)
    return sum(max(0, lost - chunk.leading) for lost, chunk in zip(missing, plan.chunks, strict=True))


def check_files(pieces: Sequence[EncodedChunk | EncodedSound]) -> None:
    """Raise where files aren't those that were decoded to prove them.

    Raises:
        PieceInvalidError: some have changed, are gone or can't be read; it names them all.
    """
    faults = {piece.path: fault for piece in pieces if (fault := _fault_of(piece)) is not None}
    if faults:
        path, fault = next(iter(faults.items()))
        raise PieceInvalidError(f"{path.name}, a piece of the output, {fault}.", pieces=[str(each) for each in faults])


def _fault_of(piece: EncodedChunk | EncodedSound) -> str | None:
    try:
        whole = sha256_of(piece.path) == piece.result.sha256
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return None if whole else "has changed since it was encoded"


def known(value: _Number | None) -> _Number:
    """What a chunk with frames tells of them."""
    assert value is not None
    return value


def seams_of(results: Sequence[ChunkResult]) -> Seams | None:
    """The steps of quality between chunks; ``None`` of one chunk."""
    steps = sorted(abs(known(after.first_psnr_db) - known(before.last_psnr_db)) for before, after in pairwise(results))
    if not steps:
        return None
    place = -(-len(steps) * _PERCENTILE // 100) - 1
    begins = tuple(accumulate(result.frames for result in results[:-1]))
    return Seams(frames=begins, p95_step_db=round(steps[place], 3), worst_step_db=round(steps[-1], 3))
