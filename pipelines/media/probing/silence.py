"""Where a sound track is silent, told as its frames come."""

from av.audio.frame import AudioFrame
from av.filter import Graph

from pipelines.media.audio_track import through
from pipelines.media.probing.probe_result import Silence

# What libavfilter's silencedetect takes if it isn't told: an encoder's noise is below, and a breath is shorter.
SILENCE_DBFS = -60.0
SILENCE_S = 2.0


class SilenceMeter:
    """libavfilter's ``silencedetect``, which writes beginnings and ends on the frames that they are found with."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._silences: list[Silence] = []
        self._since_s: float | None = None

    def push(self, frame: AudioFrame) -> None:
        if self._graph is None:
            self._graph = Graph()
            source = self._graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            )
            detect = self._graph.add("silencedetect", f"noise={SILENCE_DBFS}dB:duration={SILENCE_S}")
            self._graph.link_nodes(source, detect, self._graph.add("abuffersink")).configure()
        for heard in through(self._graph, frame):
            told = heard.metadata
            if "lavfi.silence_start" in told:
                self._since_s = float(told["lavfi.silence_start"])
            if "lavfi.silence_end" in told:
                self._end(float(told["lavfi.silence_end"]))

    def finish(self, end_s: float) -> list[Silence]:
        """All silences; one that goes on ends with the track."""
        self._end(end_s)
        return self._silences

    def _end(self, end_s: float) -> None:
        if self._since_s is not None:
            self._silences.append(Silence(start_s=round(max(0.0, self._since_s), 6), end_s=round(end_s, 6)))
        self._since_s = None
