"""Links to pictures that need no token: signed by HMAC-SHA256 (RFC 2104), and good until they expire."""

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

EXPIRES, SIGNATURE = "expires", "signature"
MAX_EXPIRES_S = 30 * 24 * 3600


class Signer:
    """``keys`` gives the live ones: the first signs, all verify. So one can be replaced while links of it are out."""

    def __init__(self, keys: Callable[[], Sequence[str]], now_s: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._now_s = now_s

    def signed(self, path: str, query: Mapping[str, str], expires_s: int) -> tuple[str, int]:
        """The link, and when it expires (seconds since 1970)."""
        at = int(self._now_s()) + expires_s
        pairs = sorted({**query, EXPIRES: str(at)}.items())
        signature = _signature(self._keys()[0], path, pairs)
        return f"{path}?{urlencode([*pairs, (SIGNATURE, signature)])}", at

    def refusal(self, path: str, query_string: str) -> str | None:
        """Why a signed link is refused; None where it is good."""
        pairs = parse_qsl(query_string, keep_blank_values=True)
        given = [value for name, value in pairs if name == SIGNATURE]
        rest = sorted(pair for pair in pairs if pair[0] != SIGNATURE)
        names = [name for name, _ in rest]
        if len(given) != 1 or len(set(names)) < len(names):
            return "A parameter of the link comes twice."
        wanted = [_signature(key, path, rest) for key in self._keys()]
        if not any([hmac.compare_digest(given[0].encode(), each.encode()) for each in wanted]):  # noqa: C419 all of them, whichever fits
            return "The link's signature is wrong: it was changed, or its key is no longer live."
        expires = dict(rest).get(EXPIRES, "")
        if not expires.isdecimal() or len(expires) > 12 or int(expires) < self._now_s():
            return "The link has expired. Ask for a new one."
        return None


def is_signed(query_string: str) -> bool:
    return any(name == SIGNATURE for name, _ in parse_qsl(query_string, keep_blank_values=True))


def _signature(key: str, path: str, pairs: Sequence[tuple[str, str]]) -> str:
    return hmac.new(key.encode(), f"{path}?{urlencode(pairs)}".encode(), "sha256").hexdigest()
