"""Fixtures of the media tests: small files with known content, made once a session."""

from collections.abc import Callable
from pathlib import Path

import media_factory as factory
import pytest

from pipelines.media.info import MediaInfo
from pipelines.media.plan import TranscodePlan, TranscodeResult
from pipelines.media.probe import probe
from pipelines.media.profiles import Profile, TranscodeParams, load_profiles, merge
from pipelines.media.streams import plan_streams
from pipelines.media.transcode import transcode_verified

REPO = Path(__file__).parents[4]

Transcode = Callable[..., tuple[Path, TranscodeResult]]


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


SHARED = REPO.parent / "shared" / "media"


@pytest.fixture
def shared_video() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the shared clips aren't at {SHARED}")
    return SHARED / "video"
