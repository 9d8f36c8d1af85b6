"""Fixtures of the media tests: small files with known content, made once a session."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import media_factory as factory
import pytest

from pipelines.media.chunk import encode_chunk
from pipelines.media.info import MediaInfo
from pipelines.media.join import join
from pipelines.media.plan import Cutting, TranscodePlan
from pipelines.media.preflight import preflight
from pipelines.media.probing.probe import probe
from pipelines.media.profiles import Profile, TranscodeParams, load_profiles, merge
from pipelines.media.results import EncodedChunk, EncodedSound, TranscodeResult
from pipelines.media.sound import encode_sound
from pipelines.media.streams import plan_streams
from pipelines.media.transcode import transcode_verified

REPO = Path(__file__).parents[4]

Transcode = Callable[..., tuple[Path, TranscodeResult]]


@pytest.fixture
def _no_ray_and_no_sleep() -> None:
    """Here Ray isn't known anyway, and the ends of programs are waited for."""


@pytest.fixture(scope="session")
def profiles() -> dict[str, Profile]:
    return load_profiles(REPO / "configs" / "profiles")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="session")
def grey_ramp(made: Path) -> Path:
    """50 lossless frames at 25 fps in Matroska, frame ``i`` flat at ``ramp_level(i)``."""
    return factory.grey_ramp(made / "ramp.mkv")


@pytest.fixture(scope="session")
def rich_film(made: Path) -> Path:
    return factory.rich_film(made / "rich.mkv")


@pytest.fixture
def planned(profiles: dict[str, Profile]) -> Callable[..., TranscodePlan]:
    """Plan a transcode of a source: a path or what its probe told."""

    def plan(source: Path | MediaInfo, profile: str = "web-720p", **params: object) -> TranscodePlan:
        info = probe(source) if isinstance(source, Path) else source
        return plan_streams(info, merge(profiles[profile], TranscodeParams.model_validate(params)))

    return plan


@pytest.fixture
def transcoded(planned: Callable[..., TranscodePlan], tmp_path: Path) -> Transcode:
    """Transcode a source and verify it; returns the output and the result."""

    def run(source: Path, profile: str = "web-720p", **params: object) -> tuple[Path, TranscodeResult]:
        plan = planned(source, profile, **params)
        target = tmp_path / f"out.{plan.container}"
        return target, transcode_verified(source, target, plan, lambda _: None)

    return run


Look = Callable[..., TranscodePlan]


@pytest.fixture
def looked_at(profiles: dict[str, Profile]) -> Look:
    """Plan a transcode with ``preflight``."""

    def look(source: Path, profile: str = "web-720p", chunk_s: float | None = 0.3, **params: object) -> TranscodePlan:
        settings = merge(profiles[profile], TranscodeParams.model_validate(params))
        return preflight(source, settings, Cutting(slots=2, chunk_s=chunk_s))

    return look


@dataclass(frozen=True)
class Pieces:
    """What became of a source that was encoded in chunks, before it is joined."""

    source: Path
    plan: TranscodePlan
    chunks: tuple[EncodedChunk, ...]
    sounds: tuple[EncodedSound, ...]
    folder: Path

    def join(self, chunks: Sequence[EncodedChunk] | None = None) -> tuple[Path, TranscodeResult]:
        target = self.folder / f"joined.{self.plan.container}"
        chunks = self.chunks if chunks is None else chunks
        return target, join(self.source, target, self.plan, chunks, self.sounds, lambda _: None)

    def serial(self) -> tuple[Path, TranscodeResult]:
        """The same encoded in one pass, on two threads."""
        target = self.folder / f"serial.{self.plan.container}"
        plan = self.plan.model_copy(update={"threads": 2})
        return target, transcode_verified(self.source, target, plan, lambda _: None)


CutUp = Callable[..., Pieces]


@pytest.fixture
def cut_up(looked_at: Look, tmp_path: Path) -> CutUp:
    """Encode a source in chunks and sound tracks."""

    def run(source: Path, profile: str = "web-720p", chunk_s: float = 0.3, **params: object) -> Pieces:
        plan = looked_at(source, profile, chunk_s, **params)
        assert plan.method == "chunk", plan.reason
        chunks = []
        for chunk in plan.chunks:
            path = tmp_path / f"{chunk.number}.nut"
            chunks.append(EncodedChunk(path=path, result=encode_chunk(source, path, plan, chunk, lambda _: None)))
        sounds = []
        for stream in plan.kept:
            if stream.audio is not None:
                path = tmp_path / f"sound-{stream.source_index}.{plan.container}"
                result = encode_sound(source, path, plan, stream.source_index, lambda _: None)
                sounds.append(EncodedSound(path=path, result=result))
        return Pieces(source, plan, tuple(chunks), tuple(sounds), tmp_path)

    return run


SHARED = REPO.parent / "shared" / "media"


@pytest.fixture
def shared_video() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the shared clips aren't at {SHARED}")
    return SHARED / "video"
