"""Past its limit a replica refuses at once: what it has taken is answered soon, and what it can't take comes again."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.problems import problem

# Requests that are being answered. One takes some milliseconds of the replica's one thread, so that who is taken last
# waits for less than a second.
MOST = 200
# Those that wait for a media process, by themselves: others, which need none, are answered meanwhile.
MOST_WAITING = 200
_WAITING = frozenset({"/v1/images", "/v1/media", "/v1/plans"})
_ALWAYS = ("/v1/health", "/v1/metrics")  # what tells that there is too much to do


class Shedding:
    """ASGI middleware. A request counts until its answer begins: downloads, streams of events and sockets don't."""

    def __init__(self, app: ASGIApp, most: int = MOST, most_waiting: int = MOST_WAITING) -> None:
        self._app = app
        self._most = {False: most, True: most_waiting}
        self._taken = {False: 0, True: 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_ALWAYS):
            await self._app(scope, receive, send)
            return
        waits = scope["path"] in _WAITING
        if self._taken[waits] >= self._most[waits]:
            detail = "More is asked than this server can answer now. Try again in a moment."
            await problem("busy", detail)(scope, receive, send)
            return
        taken = True
        self._taken[waits] += 1

        async def tell(message: Message) -> None:
            nonlocal taken
            if taken and message["type"] == "http.response.start":
                taken = False
                self._taken[waits] -= 1
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            if taken:  # it was cancelled, or failed: the answer to that is made further out
                self._taken[waits] -= 1
