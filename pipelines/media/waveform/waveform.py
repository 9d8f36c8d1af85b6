"""The waveform of a sound track: its peaks, and a picture of them."""

import json
from pathlib import Path

import numpy as np

from pipelines.media.errors import NoAudioStreamError, SourceUnreadableError, StreamNotFoundError
from pipelines.media.info import AudioInfo, MediaInfo
from pipelines.media.mux import write_errors
from pipelines.media.probing.probe import probe
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.truncation import ends_early
from pipelines.media.waveform.peaks import Peaks
from pipelines.media.waveform.picture import picture_of
from pipelines.media.waveform.sound_peaks import SoundPeaks
from pipelines.media.waveform.waveform_spec import JSON, PICTURE, WaveformResult, WaveformSpec

_WRITTEN_AT_ONCE = 1 << 16
_FULL_SCALE = 32768


def waveform(source: Source, folder: Path, spec: WaveformSpec, on_progress: OnProgress) -> WaveformResult:
    """Write ``waveform.json`` and ``waveform.png`` into ``folder``.

    The peaks are those of 16-bit samples at the track's own rate, from the container's start on; where the track has
    no sound they are 0. What is damaged is passed over.

    Raises:
        NoAudioStreamError: there is no sound.
        StreamNotFoundError: there is no such track.
        LimitError: there would be too many peaks.
        SourceUnreadableError: nothing decodes.
    """
    info = probe(source)
    track = _track(info, spec, name_of(source))
    meter = ProgressMeter(on_progress, info.duration_s)
    with open_input(source) as container:
        sound = SoundPeaks(container, track, info, spec)
        for end_s in sound.read():
            meter.update(end_s, 0)
    peaks = sound.peaks
    if peaks is None:
        raise SourceUnreadableError(f"Nothing of the sound in {name_of(source)} decodes; the file is damaged.")
    with write_errors():
        _write_json(folder / JSON, peaks, sound.rate, spec.bits)
        picture_of(peaks, spec).save(folder / PICTURE, "PNG")
    duration_s = peaks.end / sound.rate
    meter.finish(duration_s, 0)
    return WaveformResult(
        width=spec.width,
        height=spec.height,
        track=spec.track,
        channels=len(peaks.lows),
        sample_rate_hz=sound.rate,
        samples_per_pixel=peaks.samples_per_pixel,
        length=peaks.length,
        duration_s=round(duration_s, 6),
        peak=round(max(-int(peaks.lows.min()), int(peaks.highs.max())) / _FULL_SCALE, 6),
        decode_errors=sound.decode_errors,
        warnings=_warnings(name_of(source), info, track, duration_s, sound.decode_errors),
    )


def _track(info: MediaInfo, spec: WaveformSpec, name: str) -> AudioInfo:
    if not info.audio:
        raise NoAudioStreamError(f"{name} has no sound; make a waveform of a file that has some.")
    if spec.track >= len(info.audio):
        raise StreamNotFoundError(
            f"{name} has {len(info.audio)} sound tracks; there is no track {spec.track}, they count from 0.",
            track=spec.track,
        )
    return info.audio[spec.track]


def _write_json(path: Path, peaks: Peaks, rate: int, bits: int) -> None:
    """Version 2 of audiowaveform's format (https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md).

    ``data`` has the lowest and the highest sample of each channel in turn, for one stretch after the other.
    """
    pairs = np.stack((peaks.lows, peaks.highs), axis=-1).transpose(1, 0, 2).reshape(-1)
    if bits == 8:
        pairs = np.trunc(pairs / 256).astype(np.int16)
    header = {
        "version": 2,
        "channels": len(peaks.lows),
        "sample_rate": rate,
        "samples_per_pixel": peaks.samples_per_pixel,
        "bits": bits,
        "length": peaks.length,
    }
    with path.open("w") as file:
        file.write(json.dumps(header, separators=(",", ":"))[:-1] + ',"data":[')
        for begin in range(0, len(pairs), _WRITTEN_AT_ONCE):
            part = pairs[begin : begin + _WRITTEN_AT_ONCE].tolist()
            file.write(("," if begin else "") + ",".join(map(str, part)))
        file.write("]}\n")


def _warnings(name: str, info: MediaInfo, track: AudioInfo, duration_s: float, errors: int) -> tuple[str, ...]:
    told = []
    # A film goes on where one of its tracks ends; of some containers each track tells how long it is.
    length_s = track.duration_s if info.video else info.duration_s
    if ends_early(info.model_copy(update={"duration_s": length_s}), info.start_s + duration_s):
        told.append(f"{name} was cut off: its sound ends after {duration_s:.1f} of {length_s:.1f} s.")
    if errors:
        told.append(f"{errors} packets of the sound don't decode; there the waveform is flat.")
    return tuple(told)
