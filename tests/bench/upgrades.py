"""What encoding a film again is foretold to save and to cost, against what it does."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2
from pathlib import Path
from statistics import mean, median

from pipelines.media.probing.probe import probe
from pipelines.media.profiles import Profile, TranscodeParams, load_profiles, merge
from pipelines.media.streams import plan_streams
from pipelines.media.transcode import transcode_verified
from pipelines.media.upgrades.advice import advise
from pipelines.media.upgrades.upgrades_spec import REENCODE, TargetCodec, UpgradeSpec
from tests.bench import program
from tests.bench.figures import Figure
from tests.bench.quality import FILMS, reference_of, run

_PROFILES = Path(__file__).resolve().parents[2] / "configs" / "profiles"
# Films as libraries have them: finer than they need to be, in old codecs, or at a fair rate.
_KINDS = {
    "H.264 at CRF 14": ("-c:v", "libx264", "-preset", "medium", "-crf", "14"),
    "H.264 at CRF 19": ("-c:v", "libx264", "-preset", "medium", "-crf", "19"),
    "MPEG-2": ("-c:v", "mpeg2video", "-q:v", "3", "-g", "15", "-bf", "2"),
    "MPEG-4": ("-c:v", "mpeg4", "-q:v", "3", "-g", "100", "-bf", "2"),
    "H.264, keyframes only": ("-c:v", "libx264", "-preset", "medium", "-crf", "18", "-g", "1"),
    "Motion JPEG": ("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"),
}
_CODECS: tuple[TargetCodec, ...] = ("av1", "hevc")
_SPEC = {"least_saving": 0.0, "least_score": 0.0}
_LEAST_WITHIN = 0.6


@dataclass(frozen=True)
class _Case:
    """``off``: the logarithm, of base 2, of the actual size by the foretold. ``within`` the range that was told."""

    film: str
    kind: str
    off: float
    within: bool
    foretold: float
    saved: float
    points: float
    vmaf: float


def upgrades() -> list[Figure]:
    """The size by the foretold one, how many savings fall into their range, and points of VMAF lost by those told."""
    if not program.MEDIA.is_dir():
        return []
    profiles = load_profiles(_PROFILES)
    return [figure for codec in _CODECS for figure in _figures(codec, list(_cases(codec, profiles)))]


def _figures(codec: TargetCodec, cases: list[_Case]) -> list[Figure]:
    told = [case for case in cases if case.kind != "Motion JPEG"]
    worst = max(told, key=lambda case: abs(case.off))
    by_kind = {kind: [case.off for case in cases if case.kind == kind] for kind in _KINDS}
    offs = ", ".join(f"{kind} {2 ** median(each):.2f}" for kind, each in by_kind.items() if each)
    savings = ", ".join(f"{case.film} {case.foretold:.0%}/{case.saved:.0%}" for case in cases if case.kind in offs)
    return [
        Figure(
            f"{codec}: size by the foretold, the factor that it is off, median of {len(told)} encodes",
            2 ** median(abs(case.off) for case in told),
            "",
            None,
            f"actual by foretold: {offs}",
        ),
        Figure("the same, the worst", 2 ** abs(worst.off), "", None, f"{worst.film}, {worst.kind}"),
        Figure(
            "the share of savings within the range that was told (more is better)",
            mean(case.within for case in cases),
            "",
            _LEAST_WITHIN,
            f"foretold/actual: {savings}",
        ),
        Figure(
            "points of VMAF lost, mean",
            mean(case.vmaf for case in cases),
            "",
            mean(case.points for case in cases),
            f"by those foretold; {min(case.vmaf for case in cases):.1f} to {max(case.vmaf for case in cases):.1f}",
        ),
    ]


def _cases(codec: TargetCodec, profiles: dict[str, Profile]) -> Iterator[_Case]:
    for film, stretch in FILMS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            reference = reference_of(stretch, folder / "reference.mkv")
            for kind, settings in _KINDS.items():
                source = folder / "source.mkv"
                run("-i", reference, "-vf", "setpts=N/25/TB,setsar=1", "-r", "25", "-an", *settings, source)
                case = _case(film, kind, source, reference, codec, profiles)
                if case is not None:
                    yield case


def _case(
    film: str, kind: str, source: Path, reference: Path, codec: TargetCodec, profiles: dict[str, Profile]
) -> _Case | None:
    """``None`` where the advice is to leave it as it is."""
    settings = {REENCODE: merge(profiles["archive-hevc"], TranscodeParams(codec=codec))}
    advice = advise(source, UpgradeSpec(codec=codec, **_SPEC), settings, lambda _: None)
    if advice.gain is None or advice.recipe is None or advice.gain.bytes_saved is None:
        return None
    before = source.stat().st_size
    target = _encoded(source, profiles["archive-hevc"], advice.recipe.params)
    saved = before - target.stat().st_size
    gain = advice.gain
    lost = [mean(program.vmaf(reference, each, source.parent)) for each in (source, target)]
    return _Case(
        film=film,
        kind=kind,
        off=log2(target.stat().st_size / (before - gain.bytes_saved)),
        within=(gain.least_bytes or 0) <= saved <= (gain.most_bytes or 0),
        foretold=gain.bytes_saved / before,
        saved=saved / before,
        points=gain.points or 0.0,
        vmaf=lost[1] - lost[0],
    )


def _encoded(source: Path, profile: Profile, params: dict[str, object]) -> Path:
    asked = TranscodeParams.model_validate({name: value for name, value in params.items() if name != "profile"})
    target = source.with_name("target.mkv")
    transcode_verified(source, target, plan_streams(probe(source), merge(profile, asked)), lambda _: None)
    return target
