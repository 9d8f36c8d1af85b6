"""What can go wrong with media, as the caller must answer it.

MediaError
├── SourceError                      the input is at fault: never retried
│   ├── SourceNotFoundError          source_not_found
│   ├── SourceUnreadableError        source_unreadable: damaged
│   │   ├── SourceEmptyError         source_empty: zero bytes
│   │   ├── SourceTruncatedError     source_truncated: its index is missing or it ends early
│   │   └── NotMediaError            not_media: no container we read
│   ├── SourceUnsupportedError       source_unsupported
│   ├── StreamNotFoundError          stream_not_found
│   │   ├── NoVideoStreamError       no_video_stream
│   │   └── NoAudioStreamError       no_audio_stream
│   └── TimeOutOfRangeError          time_out_of_range
├── ParamsError                      params_invalid: the request contradicts itself
├── ProfileError                     profile_invalid: a profile's file is wrong
├── LimitError                       limit_exceeded: too large, too long, too slow
└── EncodeError                      encode_failed: the work is at fault, retried
    ├── EncoderUnavailableError      encoder_unavailable
    ├── OutputInvalidError           output_invalid: the output failed its verification
    │   └── PieceInvalidError        piece_invalid: a piece of it isn't what was made
    └── OutOfSpaceError              disk_full
"""

from typing import ClassVar, Self

JsonField = str | int | float | bool | list[str] | None


class MediaError(Exception):
    """A failure with a stable ``code``, a sentence that says what to do, and JSON-able ``fields``."""

    code: ClassVar[str] = "media_error"

    def __init__(self, message: str, **fields: JsonField) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.fields)

    @classmethod
    def _from_parts(cls, message: str, fields: dict[str, JsonField]) -> Self:
        return cls(message, **fields)


def _rebuild(cls: type[MediaError], message: str, fields: dict[str, JsonField]) -> MediaError:
    return cls._from_parts(message, fields)


class SourceError(MediaError):
    """The input is at fault; the same input fails again."""

    code = "source_error"


class SourceNotFoundError(SourceError):
    code = "source_not_found"


class SourceUnreadableError(SourceError):
    code = "source_unreadable"


class SourceEmptyError(SourceUnreadableError):
    code = "source_empty"


class SourceTruncatedError(SourceUnreadableError):
    code = "source_truncated"


class NotMediaError(SourceUnreadableError):
    code = "not_media"


class SourceUnsupportedError(SourceError):
    code = "source_unsupported"


class StreamNotFoundError(SourceError):
    code = "stream_not_found"


class NoVideoStreamError(StreamNotFoundError):
    code = "no_video_stream"


class NoAudioStreamError(StreamNotFoundError):
    code = "no_audio_stream"


class TimeOutOfRangeError(SourceError):
    code = "time_out_of_range"


class ParamsError(MediaError):
    code = "params_invalid"


class ProfileError(MediaError):
    code = "profile_invalid"


class LimitError(MediaError):
    code = "limit_exceeded"


class EncodeError(MediaError):
    """The work failed, not the source: another try may succeed."""

    code = "encode_failed"


class EncoderUnavailableError(EncodeError):
    code = "encoder_unavailable"


class OutputInvalidError(EncodeError):
    code = "output_invalid"


class PieceInvalidError(OutputInvalidError):
    """``pieces`` are the paths of the files that are to be made again."""

    code = "piece_invalid"


class OutOfSpaceError(EncodeError):
    code = "disk_full"
