"""Frames of a film to choose from, judged: keyframes where they are dense enough, else any."""

from collections.abc import Sequence
from fractions import Fraction

from av.video.frame import VideoFrame

from pipelines.media.frames import FrameReader
from pipelines.media.info import VideoInfo
from pipelines.media.scenes.scenes_spec import frame_rate_of
from pipelines.media.surroundings import LookedInto, LookedThrough, Surroundings
from pipelines.media.telling import Candidate, judge

MARGIN = 0.05  # titles and credits: the first and last twentieth of a film aren't looked at


def candidates_at(
    reader: FrameReader, wanted: Sequence[int], least: int, video: VideoInfo, time_base: Fraction
) -> tuple[list[Candidate], Surroundings]:
    """The keyframes near the rising times ``wanted``, in ticks, and what tells of what is around them.

    Where these are fewer than ``least`` or than half of what is wanted, the very frames: then the film is short, or has
    long groups of pictures, and is decoded from the first of these times on.
    """
    keyframes = {each.pts: each for pts in wanted if (each := _judged_keyframe(reader, pts)) is not None}
    if len(keyframes) >= max(least, len(wanted) // 2):
        return list(keyframes.values()), LookedInto(reader, time_base, frame_rate_of(video))
    around = LookedThrough(wanted, frame_rate_of(video))
    candidates = []
    frame: VideoFrame | None = reader.at(wanted[0])
    while frame is not None:
        following = reader.following()
        if around.push(frame, None if following is None else following.pts):
            candidates.append(judge(frame))
        frame = following
    around.finish()
    return candidates, around


def _judged_keyframe(reader: FrameReader, pts: int) -> Candidate | None:
    frame = reader.keyframe_at(pts)
    return None if frame is None else judge(frame)
