"""Whether a decoder can begin at a keyframe: it may only be named so, or need what was before."""

from typing import Any

from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from pipelines.media.errors import SourceUnreadableError
from pipelines.media.libav_log import ERROR
from pipelines.media.parts import Part
from pipelines.media.passes import Fault, run_pass
from pipelines.media.source import Source
from pipelines.media.validation.scan import ScannedStream


def opens(source: Source, picture: ScannedStream, part: Part) -> bool:
    """Whether a decoder that begins with ``part`` gives its first frame, and whole."""
    assert part.key_pts is not None
    times = picture.times
    behind = times[times > part.key_pts]
    first = part.model_copy(update={"end_pts": int(behind.min()) if len(behind) else None, "leading": False})
    seen = _FirstFrame()
    try:
        run_pass(source, first, [seen], 1, lambda _: None)
    except SourceUnreadableError:
        return False
    return seen.frames == 1 and seen.whole


class _FirstFrame:
    """The listener that tells whether what it is shown is whole."""

    def __init__(self) -> None:
        self.frames = 0
        self.whole = True

    def opened(self, container: InputContainer) -> None: ...

    def packet(self, packet: "Packet[Any]") -> None: ...

    def picture(self, _stream: int, frame: VideoFrame) -> None:
        self.frames += 1
        self.whole = self.whole and not frame.is_corrupt

    def sound(self, stream: int, frame: AudioFrame) -> None: ...

    def fault(self, fault: Fault) -> None:
        said = any(message.level <= ERROR for message in fault.messages)
        self.whole = self.whole and fault.raised is None and not said
