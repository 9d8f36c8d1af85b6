"""Films that are to be judged, and what they are judged by."""

from pathlib import Path

import media_factory as factory
from unit.pipelines.media.quality.pictures import textured, with_chroma

from pipelines.media.profiles import Profile, TranscodeParams, TranscodeSettings, merge
from pipelines.media.upgrades.upgrades_spec import REENCODE, TargetCodec


def textured_film(path: Path, frames: int = 40, codec: str = "libx264", gop: int = 25, **options: str) -> Path:
    """384x256 pixels with detail at every scale, 25 a second."""
    pictures = [with_chroma(textured(number % 60)) for number in range(frames)]
    return factory.write_video(path, pictures, codec=codec, gop=gop, options=options)


def settings_of(profiles: dict[str, Profile], codec: TargetCodec = "av1") -> dict[str, TranscodeSettings]:
    return {
        REENCODE: merge(profiles["archive-hevc"], TranscodeParams(codec=codec)),
        "web-1080p": merge(profiles["web-1080p"], TranscodeParams(audio_codec="copy")),
    }
