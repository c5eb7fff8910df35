"""Routes for avatars and for videos that are made in the background."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import soundfile
from fastapi import APIRouter, File, Form, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import InputError
from core.media.spoken_text import MAX_CHARACTERS, installed_voices, speak
from core.motion import SAMPLE_RATE
from live.faults import Fault
from live.jobs import NOTE, SOURCE, SPEECH
from live.messages import Emotion, Seed, first_problem
from live.state import write_json
from live.uploads import check_source, check_speech, save

if TYPE_CHECKING:
    from live.server import Server


class JobOptions(BaseModel):
    """Options of a job, see docs/controls.md. What is left out comes from the pack."""

    model_config = ConfigDict(extra="forbid", strict=True)
    seed: Seed = 0
    emo: Emotion = "neutral"
    max_size: Annotated[int, Field(ge=64, le=1920)] = 1024
    crop_scale: Annotated[float, Field(ge=1.5, le=4.0)] = 2.3
    crf: Annotated[int, Field(ge=10, le=40)] = 18


def file_routes(server: Server) -> APIRouter:
    """/avatars and /jobs."""
    router = APIRouter()
    _avatar_routes(router, server)
    _job_routes(router, server)
    return router


def _avatar_routes(router: APIRouter, server: Server) -> None:
    @router.post("/avatars", status_code=201, tags=["avatars"])
    async def register(source: Annotated[UploadFile, File(description="JPEG, PNG, WebP, MP4 or WebM")]) -> dict:
        """Register a portrait once; its id is good for any number of sessions and jobs, also after a restart."""
        return await server.avatars.add(partial(save, source), asyncio.to_thread)

    @router.get("/avatars/{avatar}", tags=["avatars"])
    def look_up(avatar: str) -> dict:
        """Kind and size of a registered avatar."""
        return server.avatars.note(avatar)

    @router.get("/avatars/{avatar}/picture", tags=["avatars"], response_class=Response)
    def picture(avatar: str) -> Response:
        """The avatar's first frame, JPEG."""
        return Response(server.avatars.picture(avatar), media_type="image/jpeg")

    @router.delete("/avatars/{avatar}", status_code=204, tags=["avatars"])
    def forget(avatar: str) -> Response:
        """Delete an avatar with its files."""
        server.avatars.remove(avatar)
        return Response(status_code=204)


def _job_routes(router: APIRouter, server: Server) -> None:
    @router.post("/jobs", status_code=202, tags=["jobs"])
    async def start(
        audio: Annotated[UploadFile | None, File(description="speech, any usual format")] = None,
        text: Annotated[str | None, Form(max_length=MAX_CHARACTERS, description="or a text to speak")] = None,
        voice: Annotated[str | None, Form(max_length=80, description="one of /voices")] = None,
        source: Annotated[UploadFile | None, File(description="portrait")] = None,
        avatar: Annotated[str | None, Form(max_length=64, description="or a registered avatar")] = None,
        options: Annotated[str, Form(max_length=1000, description="JSON object: seed, emo, max_size, ...")] = "{}",
    ) -> dict:
        """Make a video in the background. 503 when too many wait."""
        chosen = _options(options)
        if (audio is None) == (text is None) or (source is None) == (avatar is None):
            raise Fault(422, "invalid", "give one of audio and text, and one of source and avatar")
        server.jobs.check_room()
        with server.jobs.shelf.fresh() as (name, folder):
            if source is not None:
                await save(source, folder / SOURCE)
                await asyncio.to_thread(check_source, folder / SOURCE, server.settings.limits)
            else:
                await asyncio.to_thread(shutil.copyfile, server.avatars.source(avatar), folder / SOURCE)
            await _write_speech(audio, text, voice, folder / SPEECH)
            await asyncio.to_thread(check_speech, folder / SPEECH, server.settings.limits)
            note = {"status": "queued", "created": time.time(), "attempts": 0, "options": chosen}
            write_json(folder / NOTE, note)
        return server.jobs.put(name)

    @router.get("/jobs/{job}", tags=["jobs"])
    def look(job: str) -> dict:
        """`status` is queued, running, done, failed or lost."""
        return server.jobs.get(job)

    @router.get("/jobs/{job}/video", tags=["jobs"], response_class=FileResponse)
    def video(job: str) -> FileResponse:
        """The finished mp4."""
        return FileResponse(server.jobs.video(job), media_type="video/mp4", filename="avatar.mp4")

    @router.delete("/jobs/{job}", status_code=204, tags=["jobs"])
    def cancel(job: str) -> Response:
        """Cancel a job, delete its files."""
        server.jobs.remove(job)
        return Response(status_code=204)


def _options(text: str) -> dict[str, Any]:
    """Checked options of a job. Raises Fault."""
    try:
        return JobOptions.model_validate(json.loads(text)).model_dump()
    except ValidationError as error:
        raise Fault(422, "invalid", f"options: {first_problem(error)}") from None
    except (ValueError, RecursionError):
        raise Fault(422, "invalid", "options: not a JSON object") from None


async def _write_speech(audio: UploadFile | None, text: str | None, voice: str | None, path: Path) -> None:
    """The sound that was sent, or the text spoken. Raises Fault."""
    if audio is not None:
        await save(audio, path)
        return
    voices = {known.name: known for known in installed_voices()}
    if voice is not None and voice not in voices:
        raise Fault(404, "not_found", "there is no such voice; GET /voices lists them")
    try:
        samples = await asyncio.to_thread(speak, text, voices.get(voice))
    except InputError as error:
        raise Fault(422, "unusable", str(error)) from None
    await asyncio.to_thread(soundfile.write, path, samples, SAMPLE_RATE, format="WAV")
