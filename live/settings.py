"""What a server may be told: where its state lives, who may use it, and how much."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.avatars.cache import cache_folder

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "example" / "portrait.png"
STEP, AHEAD = 1, 5  # new and future frames of a window of speech: 240 ms of it are heard before a frame
PAST = 10  # frames, of the reference's windows; the embedded encoder keeps more by itself


@dataclass(frozen=True)
class Limits:
    """What one server takes on. Beyond it requests are refused at once."""

    sessions: int = max(1, os.cpu_count() or 1)  # live at the same time
    upload_bytes: int = 64 << 20  # of a request
    picture_pixels: int = 40_000_000  # of a picture or of a video's frames
    video_seconds: float = 60.0  # of a portrait video
    speech_seconds: float = 600.0  # of a job
    avatars: int = 200  # kept on disk
    waiting_jobs: int = 8
    kept_jobs: int = 50  # finished ones
    requests: float = 20.0  # per second and client
    burst: int = 80  # requests that may come at once
    bad_messages: int = 20  # of a session, before it is closed
    start_seconds: float = 5.0  # for a new session to say what it wants, or a WebRTC peer to connect
    silent_seconds: float = 4.0  # without a sign of life from a WebRTC peer
    message_bytes: int = 256 << 10  # of a WebSocket message


@dataclass(frozen=True)
class Settings:
    """A server. `state`: folder of avatars and jobs. `token`: what clients must know, None for nothing."""

    state: Path = field(default_factory=lambda: cache_folder() / "server")
    token: str | None = None
    max_size: int = 512  # longest side of live pictures
    step: int = STEP  # frames between looks at the speech, see low_delay
    origins: tuple[str, ...] = ()  # pages of other hosts that may use the server
    ice_servers: tuple[str, ...] = ()  # STUN or TURN addresses for WebRTC
    limits: Limits = field(default_factory=Limits)


def low_delay(config: Any, step: int = STEP) -> Mapping[str, Any]:
    """Options of live sessions: the embedded pack hears in short steps; other packs keep their own windows."""
    motion = getattr(config, "audio2motion_cfg", {})
    if motion.get("w2f_type") != "whisper":
        return {}
    return {"chunksize": (PAST, step, AHEAD), "overlap_v2": int(motion["seq_frames"]) - step}
