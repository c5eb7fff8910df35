"""The HTTP application: its layers, its life, and the answers that need nothing but the server itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from core.media.spoken_text import installed_voices
from live.avatars import Avatars
from live.faults import Fault
from live.file_routes import file_routes
from live.guard import Guard, refusal
from live.jobs import Jobs
from live.live_routes import live_routes
from live.metrics import Metrics
from live.sessions import Sessions
from live.settings import Settings

PAGE = Path(__file__).resolve().parent / "page"
THREADS = 64  # for what blocks: encoders of the sessions, registration, text to speech
_TEXT = """Avatars that talk, from a portrait and speech: as files, and live.

`WS /stream` is described in docs/live.md. Use faces and voices only with the consent of the people they belong to;
videos say in their metadata that they are synthetic."""


class Server:
    """What the routes share. Everything but `peers` is for one SDK and may be used before the event loop runs."""

    def __init__(self, sdk: Any, settings: Settings):
        self.settings, self.metrics = settings, Metrics()
        self.avatars = Avatars(sdk, settings)
        self.jobs = Jobs(sdk, settings, self.metrics)
        self.sessions = Sessions(sdk, self.avatars, settings, self.metrics)
        self.peers: set[asyncio.Task] = set()
        self.ready = False

    @asynccontextmanager
    async def life(self, _app: FastAPI) -> AsyncIterator[None]:
        """From start to shutdown."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "live"))
        self.jobs.start()
        self.ready = True
        yield
        self.ready = False
        for task in self.peers:
            task.cancel()
        await asyncio.gather(*self.peers, return_exceptions=True)
        await asyncio.to_thread(self.jobs.close)


def make_app(sdk: Any, settings: Settings) -> FastAPI:
    """The application over a loaded `core.sdk.StreamSDK`."""
    server = Server(sdk, settings)
    app = FastAPI(
        title="Talking avatars", version="1", description=_TEXT, lifespan=server.life, docs_url=None, redoc_url=None
    )
    app.state.server = server
    app.include_router(file_routes(server))
    app.include_router(live_routes(server))
    _own_routes(app, server)
    app.mount("/page", StaticFiles(directory=PAGE), "page")
    app.add_exception_handler(Fault, _refused(server))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(Exception, _broken)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["Authorization"]
        )
    app.add_middleware(Guard, settings=settings, metrics=server.metrics)
    return app


def _own_routes(app: FastAPI, server: Server) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "api.html")

    @app.get("/health", tags=["server"])
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok"}

    @app.get("/ready", tags=["server"])
    async def ready() -> JSONResponse:
        """200 when another session would be let in, 503 otherwise."""
        free = server.settings.limits.sessions - server.sessions.count
        good = server.ready and free > 0
        return JSONResponse({"ready": good, "free_sessions": free}, 200 if good else 503)

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Figures for Prometheus."""
        return PlainTextResponse(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/voices", tags=["server"])
    async def voices() -> list[str]:
        """Voices for `say`; empty when no synthesiser is installed."""
        return [voice.name for voice in await asyncio.to_thread(installed_voices)]


def _refused(server: Server):
    async def answer(_request: Request, fault: Fault) -> JSONResponse:
        server.metrics.refused.labels(fault.code).inc()
        return refusal(fault)

    return answer


async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"][1:])
    return refusal(Fault(422, "invalid", f"{where}: {problem['msg']}" if where else problem["msg"]))


async def _plain(_request: Request, error: HTTPException) -> JSONResponse:
    return refusal(Fault(error.status_code, "refused", str(error.detail)))


async def _broken(_request: Request, _error: Exception) -> JSONResponse:
    """The error itself is in the log."""
    return refusal(Fault(500, "failed", "the request failed; see the server's log"))
