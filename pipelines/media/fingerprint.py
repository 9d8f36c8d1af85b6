"""What a film looks like in few words: hashes of frames at fractions of its time, alike in every encode of it."""

from av.video.stream import VideoStream

from pipelines.media.errors import NoVideoStreamError
from pipelines.media.fingerprint_spec import FRAMES, Fingerprint
from pipelines.media.frames import FrameReader
from pipelines.media.limits import check_picture
from pipelines.media.probing.probe import probe
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.stills import even_times
from pipelines.media.telling import judge
from pipelines.media.timing import Timing


def fingerprint(source: Source) -> Fingerprint:
    """Look at eight frames of a film.

    Raises:
        NoVideoStreamError: it has no pictures but a cover.
        LimitError: the pictures are too large.
        SourceUnreadableError: nothing decodes.
    """
    info = probe(source, measured=True)
    video = info.video
    if video is None:
        raise NoVideoStreamError(f"{name_of(source)} has no moving pictures; give a film.")
    check_picture(video)
    with open_input(source) as container:
        timing = Timing.of(container, video.index)
        stream = container.streams[video.index]
        assert isinstance(stream, VideoStream)
        reader = FrameReader(container, stream)
        looks = [judge(reader.at(timing.pts_of(time_s))) for time_s in even_times(video, info, timing, FRAMES)]
    return Fingerprint(
        duration_s=info.duration_s,
        width=video.display_width,
        height=video.display_height,
        bit_rate_bps=info.bit_rate_bps,
        hashes=tuple(None if look.shows_nothing else f"{look.hash:016x}" for look in looks),
    )
