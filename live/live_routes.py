"""Routes for live sessions: WebSocket and WebRTC."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, WebSocket
from pydantic import Field

from live.faults import Fault
from live.messages import Choices
from live.stream import Stream

if TYPE_CHECKING:
    from live.server import Server


class Offer(Choices):
    """A WebRTC offer, and what the session looks like."""

    sdp: Annotated[str, Field(min_length=10, max_length=64 << 10)]
    type: Literal["offer"] = "offer"


def live_routes(server: Server) -> APIRouter:
    """/stream and /webrtc/offer."""
    router = APIRouter()

    @router.websocket("/stream")
    async def stream(ws: WebSocket) -> None:
        await ws.accept()
        await Stream(ws, server.sessions, server.settings, server.metrics).run()

    @router.post("/webrtc/offer", tags=["live"])
    async def offer(offer: Offer) -> dict:
        """Answer an offer with one picture and one sound track. 503 with Retry-After when the server is full."""
        try:
            from live.webrtc import Peer
        except ModuleNotFoundError as error:
            raise Fault(501, "no_webrtc", f"{error.name} is not installed; pip install -e '.[serve]'") from None
        peer = Peer(server.sessions, server.settings, server.metrics)
        answer = await peer.answer(offer.sdp, offer)
        task = asyncio.create_task(peer.run())
        server.peers.add(task)
        task.add_done_callback(server.peers.discard)
        return answer

    return router
