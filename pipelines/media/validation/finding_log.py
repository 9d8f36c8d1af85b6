"""Findings by their codes: what each means, and how bad it is."""

from collections.abc import Iterator

from pipelines.media.validation.report import Finding, Severity, both

_MEANS: dict[str, tuple[Severity, str]] = {
    # the file
    "unreadable": ("error", "The file can't be opened: what it holds is lost, or needs repair."),
    "not_media": ("error", "The file is neither a film nor sound: there is nothing here that could be validated."),
    "stream_unlisted": ("warning", "A stream comes that the header doesn't name: it isn't checked."),
    "no_decoder": ("warning", "There is no decoder for the stream: it can't be checked."),
    "no_media": ("error", "The file has neither pictures nor sound that can be decoded."),
    "read_error": ("error", "The file can't be read to its end."),
    "container_damaged": ("error", "The container is damaged here: what it holds may be lost or misplaced."),
    "container_odd": ("info", "The container isn't quite as its format wants it."),
    "index_beyond_end": ("error", "The index names data behind the end of the file: it was cut off."),
    "ends_early": ("error", "The stream ends before its header says: the file was cut off, or its recording was."),
    "lasts_longer": ("warning", "The stream lasts longer than its header says."),
    "ends_differ": ("info", "Picture and sound end at different times."),
    "packet_marked_corrupt": ("error", "The container marks a packet as incomplete: data was lost on the way."),
    "cut_off": ("error", "The file is shorter than it says: it was cut off, or its recording was."),
    "trailing_data": ("info", "Data that belong to nothing follow the end."),
    "foreign_data": ("info", "Data that aren't of the stream follow its end."),
    "checksum_wrong": ("error", "A checksum of the container doesn't fit: what it covers has changed."),
    "metadata_changed": ("warning", "A checksum of index, chapters or tags doesn't fit: they have changed."),
    "packets_lost": ("error", "The container counts its packets, and some are missing or in another place."),
    "sync_lost": ("error", "The transport stream isn't made of whole packets here."),
    "index_wrong": ("warning", "The index and what it points to don't fit."),
    "counts_contradict": ("warning", "There aren't as many packets as the header says."),
    "headers_contradict": ("warning", "The headers contradict each other."),
    "no_end_mark": ("info", "Nothing marks the end of the stream: it may have been cut off."),
    "bytes_lost": ("error", "A packet has zeros where its codec has none: a block of the file was lost."),
    # the timeline
    "times_missing": ("warning", "Packets have no times."),
    "times_disordered": ("warning", "Times of decoding don't rise."),
    "times_repeated": ("warning", "Two frames are shown at the same time."),
    "shown_before_decoded": ("warning", "Packets are to be shown before they are decoded."),
    "gap": ("warning", "Time is missing between two frames."),
    "overlap": ("warning", "Frames follow each other faster than they last."),
    "slow_start": ("info", "Time is missing right after the start, as where a recorder took its time."),
    "no_keyframe_first": ("warning", "The picture doesn't begin with a keyframe: its first frames can't be whole."),
    # what decodes
    "lead_in": ("info", "What is shown before the first keyframe needs what was before the start: it is left out."),
    "decoder_crashed": ("error", "A decoder crashed each time that it was tried: what it was given can't be checked."),
    "packet_undecodable": ("error", "A packet doesn't decode."),
    "frame_concealed": ("error", "A frame is damaged: its decoder made up what is missing."),
    "decoder_error": ("error", "The decoder met data that can't be right."),
    "decoder_warning": ("info", "The decoder met data that is unusual."),
    "picture_unwritten": ("error", "A part of a frame was never decoded: its data ends too early."),
    "frame_missing": ("error", "A packet gave no frame."),
    "frames_disordered": ("error", "Frames come in another order than their times say."),
    "picture_size_changed": ("warning", "The size of the pictures changes, or isn't what the header says."),
    "sound_form_changed": ("warning", "Sample rate or channels change, or aren't what the header says."),
    "sound_differs": ("error", "The sound isn't what was encoded: its checksum doesn't fit."),
    "sound_gap": ("warning", "Less sound decodes than its times say."),
    "sound_overlap": ("warning", "More sound decodes than its times say."),
    # against digests that were kept
    "header_differs": ("error", "What the decoder is set up with isn't what it was."),
    "frame_changed": ("error", "A frame isn't what it was when its digest was kept."),
    "frame_missing_now": ("error", "A frame that there was when digests were kept isn't there."),
    "frame_moved": ("error", "A frame comes behind one that came after it when digests were kept."),
    "frame_added": ("error", "There is a frame that wasn't there when digests were kept."),
}
_EVIDENCE_CHARACTERS = 200


class FindingLog:
    """Collects findings, folded by code and stream: the first and the last time, and how often."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, int | None], Finding] = {}

    def add(
        self,
        code: str,
        stream: int | None = None,
        time_s: float | None = None,
        evidence: str | None = None,
        *,
        last_s: float | None = None,
        count: int = 1,
    ) -> None:
        severity, message = _MEANS[code]
        finding = Finding(
            code=code,
            severity=severity,
            message=message,
            stream=stream,
            time_s=_rounded(time_s),
            last_s=_rounded(time_s if last_s is None else last_s),
            count=count,
            evidence=evidence.strip().split("\n")[0][:_EVIDENCE_CHARACTERS] if evidence else None,
        )
        known = self._kinds.get((code, stream))
        self._kinds[code, stream] = finding if known is None else both(known, finding)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kinds.values())


def _rounded(time_s: float | None) -> float | None:
    return None if time_s is None else round(time_s, 3)
