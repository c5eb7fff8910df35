"""Control messages of clients, the same over WebSocket and WebRTC: JSON objects with a `type`. See docs/live.md."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from core.media.spoken_text import MAX_CHARACTERS
from core.settings.emotions import EMOTIONS
from live.faults import Fault

MAX_TEXT = 16 << 10  # characters of a message
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Emotion = Literal[tuple(EMOTIONS)]
AvatarId = Annotated[str, Field(pattern="^(example|[0-9a-f]{32})$")]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Choices(_Message):
    """What a session looks like."""

    avatar: AvatarId = "example"
    seed: Seed = 0
    emotion: Emotion = "neutral"


class Start(Choices):
    """First message of a WebSocket. `token` is for browsers, which cannot send headers there."""

    type: Literal["start"]
    format: Literal["jpeg", "mp4"] = "jpeg"
    quality: Annotated[int, Field(ge=30, le=95)] = 80
    token: Annotated[str, Field(max_length=256)] | None = None


class Interrupt(_Message):
    """Drop all speech that was not heard."""

    type: Literal["interrupt"]


class End(_Message):
    """The end of a turn: what waits for more sound is spoken."""

    type: Literal["end"]


class Say(_Message):
    """Speak a text. `voice`: one of /voices."""

    type: Literal["say"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
    voice: Annotated[str, Field(max_length=80)] | None = None


class Ping(_Message):
    """Answered with `pong` and the same `id`."""

    type: Literal["ping"]
    id: Annotated[int, Field(ge=0, le=2**53)] = 0


Control = Start | Interrupt | End | Say | Ping
_CONTROL: TypeAdapter[Control] = TypeAdapter(Annotated[Control, Field(discriminator="type")])


def parse(text: str) -> Control:
    """A message. Raises Fault (400) with one line for anything else."""
    if len(text) > MAX_TEXT:
        raise Fault(400, "bad_message", f"a message of {len(text)} characters; at most {MAX_TEXT} are taken")
    try:
        return _CONTROL.validate_python(json.loads(text))
    except ValidationError as error:
        raise Fault(400, "bad_message", first_problem(error)) from None
    except (ValueError, RecursionError):
        raise Fault(400, "bad_message", "not a JSON object") from None


def first_problem(error: ValidationError) -> str:
    """One line of what pydantic found."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]
