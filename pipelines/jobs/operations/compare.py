"""``compare``: how much worse a film is than its reference, frame by frame, in pieces on every CPU."""

import hashlib
from collections.abc import Mapping
from typing import Any

from pipelines.jobs.build import build_id
from pipelines.jobs.catalogue import CommonParams, Made, Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench
from pipelines.media.comparison.compare_spec import (
    FRAMES_FILE,
    SCORES_FILE,
    CompareResult,
    CompareSpec,
    ComparisonPlan,
    Piece,
    PieceScores,
    ScoredPiece,
)

_PIECE = "piece"
_MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png"}
_JOIN_MEMORY_BYTES = 512 << 20
_STILL_S, _FRAMES_PER_S = 0.15, 50_000
_TOLD = ("vmaf", "ssim", "psnr", "xpsnr", "frames", "width", "height")
_FILMS = {
    "same": "both show the same film; how alike they are, the scores tell",
    "doubtful": "it's doubtful that both show the same film",
    "different": "they show different films",
}
_NO_ERROR = "infinite: no pixel differs"


class Params(CompareSpec, CommonParams):
    """How to compare."""


def plan(bench: Workbench) -> Plan:
    distorted, reference = bench.sources
    identities = {source: bench.identity(source).digest for source in bench.sources}
    spec = bench.params_as(CompareSpec)
    comparison = bench.call_with(
        "pipelines.media.comparison.planning:plan_comparison",
        ComparisonPlan,
        {"source": distorted, "reference": reference},
        spec=spec,
        slots=bench.slots,
    )
    stamps = bench.settled_stamps(bench.sources)
    # Stamps alone don't tell them: see the addresses of ``transcode``.
    versions = None if stamps is None else (*identities.values(), *stamps)
    frames = comparison.reference_frames or 0
    join_s = 0.2 + frames / _FRAMES_PER_S + 2 * spec.moments * _STILL_S * bool(comparison.pieces)
    join_cpus = 0 if join_s < 1 else 1
    return Plan(
        units=tuple(_unit(piece, comparison, versions) for piece in comparison.pieces),
        shared={
            "plan": comparison.model_copy(update={"pieces": ()}).model_dump(mode="json"),
            "identities": identities,
        },
        media_s=frames / comparison.frame_rate if frames else None,
        join=Needs(cpus=join_cpus, max_cpus=join_cpus, memory_bytes=_JOIN_MEMORY_BYTES, seconds=join_s),
        explain={
            "alignment": comparison.alignment.model_dump(),
            "canvas": comparison.canvas.model_dump(),
            "pieces": len(comparison.pieces),
            "reference_frames": comparison.reference_frames,
            "distorted_frames": comparison.distorted_frames,
            "warnings": list(comparison.warnings),
        },
    )


def _unit(piece: Piece, comparison: ComparisonPlan, versions: tuple[str, ...] | None) -> Unit:
    key = None
    if versions is not None:
        settings = comparison.model_dump_json(exclude={"pieces", "warnings", "reference_frames", "distorted_frames"})
        parts = (build_id("pieces"), *versions, settings, piece.model_dump_json(exclude={"number", "cost_s"}))
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return Unit(
        name=f"piece-{piece.number:04d}",
        needs=Needs(memory_bytes=comparison.memory_bytes, seconds=piece.cost_s),
        payload={_PIECE: piece.model_dump(mode="json")},
        key=key,
    )


def run(bench: Workbench, unit: Unit) -> PieceScores:
    return bench.call_with(
        "pipelines.media.comparison.score:score_piece",
        PieceScores,
        _sources(bench),
        folder=str(bench.scratch),
        plan=_shared_plan(bench),
        piece=Piece.model_validate(unit.payload[_PIECE]),
    )


def join(bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    spec = bench.params_as(CompareSpec)
    scored = [
        ScoredPiece(
            table=unit.folder / SCORES_FILE,
            pairs=unit.payload[_PIECE]["pairs"],
            scores=PieceScores.model_validate(unit.manifest),
        ).model_dump(mode="json")
        for unit in units.values()
    ]
    result = bench.call_with(
        "pipelines.media.comparison.finish:finish_comparison",
        CompareResult,
        _sources(bench),
        folder=str(bench.scratch),
        plan=_shared_plan(bench),
        scored=scored,
        spec=spec,
    )
    made = (
        [Made(bench.scratch / FRAMES_FILE, FRAMES_FILE, "text/csv")] if result.frames and result.frames.compared else []
    )
    for moment in result.worst:
        stills = filter(None, (moment.reference, moment.distorted))
        made += [Made(bench.scratch / name, name, _MEDIA_TYPES[spec.format]) for name in stills]
    return Outcome(result, made, result.warnings)


def _sources(bench: Workbench) -> dict[str, str]:
    distorted, reference = bench.sources
    return {"source": distorted, "reference": reference}


def _shared_plan(bench: Workbench) -> ComparisonPlan:
    return ComparisonPlan.model_validate(bench.shared["plan"])


def _told(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The alignment in short, and of the worst moments when they are."""
    alignment = {name: result["alignment"][name] for name in ("offset_s", "confidence")}
    worst = [moment["time_s"] for moment in result["worst"]]
    scores = {name: result[name] for name in _TOLD}
    scores |= {name: _decibels(scores[name]) for name in ("psnr", "xpsnr") if scores[name] is not None}
    films = _FILMS[result["verdict"]]
    return {"message": result["message"], "films": films, **scores, **alignment, "worst_at_s": worst}


def _decibels(scores: Mapping[str, float | None]) -> Mapping[str, float | str] | str:
    """As a person reads them: where there is no error there is no number either."""
    if all(score is None for score in scores.values()):
        return _NO_ERROR
    return {name: _NO_ERROR if score is None else score for name, score in scores.items()}


OPERATION = Operation(
    name="compare",
    summary="Measure what a film lost against its reference: VMAF, SSIM, PSNR, xPSNR by frame, and the worst moments.",
    params=Params,
    result=CompareResult,
    plan=plan,
    run=run,
    join=join,
    sources=("distorted", "reference"),
    runs_programs=True,
    output="folder",
    told=_told,
    examples=({"sources": ["/films/example-web.mp4", "/films/example.mkv"], "params": {"moments": 3}},),
)
