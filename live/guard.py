"""Who may come in: token, pages of other hosts, rate, size of requests. Plain ASGI, so that WebSockets pass it too."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from live.faults import Fault
from live.metrics import Metrics
from live.settings import Settings

OPEN_PATHS = frozenset({"/", "/health", "/ready", "/openapi.json", "/docs", "/favicon.ico"})
OPEN_FOLDER = "/page/"
_CLIENTS = 4096  # whose rate is remembered
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


def knows_token(given: str | None, token: str | None) -> bool:
    """Whether `given` is the token, if there is one."""
    return token is None or (given is not None and hmac.compare_digest(given.encode(), token.encode()))


def bearer(headers: Headers) -> str | None:
    """The token of an Authorization header."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def origin_allowed(headers: Headers, allowed: tuple[str, ...]) -> bool:
    """Browsers name the page that asks: it must be ours, or allowed. Other programs do not send an origin."""
    origin = headers.get("origin")
    return origin is None or origin in allowed or urlsplit(origin).netloc == headers.get("host")


class Rate:
    """A bucket of requests per client."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic):
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> bool:
        """Whether one more request is let in now."""
        now = self._clock()
        left, when = self._buckets.pop(client, (float(self._burst), now))
        left = min(self._burst, left + (now - when) * self._per_second)
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return left >= 1


class Guard:
    """Outermost layer of the server."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics):
        self._app, self._settings, self._metrics = app, settings, metrics
        self._rate = Rate(settings.limits.requests, settings.limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Fault as fault:
            self._metrics.refused.labels(fault.code).inc()
            await refusal(fault)(scope, receive, send)
            return
        if scope["type"] == "http":
            await self._app(scope, self._bounded(receive), _with_headers(send))
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if path in ("/health", "/ready"):
            return
        if not self._rate.take((scope.get("client") or ("?",))[0]):
            raise Fault(429, "too_many", "too many requests; slow down", 1)
        if not origin_allowed(headers, self._settings.origins):
            raise Fault(403, "foreign_page", "this page may not use the server; --origin allows it")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._settings.limits.upload_bytes:
            raise self._too_large()
        public = path in OPEN_PATHS or path.startswith(OPEN_FOLDER) or scope["type"] == "websocket"
        if not public and not knows_token(bearer(headers), self._settings.token):
            raise Fault(401, "no_token", "send the server's token: Authorization: Bearer TOKEN")

    def _too_large(self) -> Fault:
        return Fault(413, "too_large", f"at most {self._settings.limits.upload_bytes >> 20} MB are taken")

    def _bounded(self, receive: Receive) -> Receive:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._settings.limits.upload_bytes:
                raise HTTPException(413, str(self._too_large()))  # the only kind that the parser of forms lets through
            return message

        return counted


def refusal(fault: Fault) -> JSONResponse:
    """The answer to a request, or to the handshake of a WebSocket."""
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after else {}
    if fault.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(fault.body(), fault.status, headers)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_HEADERS.items()]
        await send(message)

    return sending
