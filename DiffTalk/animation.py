"""A video or portrait and a recording -> a talking video (spec difftalk.md sections 7 and 11)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from core.errors import InputError
from core.media import VideoReader, VideoWriter, check_output, is_image, read_image
from core.motion import FPS
from DiffTalk import pictures
from DiffTalk.config import LATENT_CHANNELS
from DiffTalk.crop import Square, square_of
from DiffTalk.landmarks import follow, load_tracker
from DiffTalk.model import Encoded
from DiffTalk.sampler import seeded_noise
from DiffTalk.schedule import ddim_timesteps
from DiffTalk.speech import conditions_of

LOG = logging.getLogger(__name__)
FEATHER = 0.02  # of the square's side: width of the soft edge when the original is pasted around the new mouth


@dataclass(frozen=True)
class AnimateOptions:
    """How a clip is driven."""

    reference: str = "first"  # first frame, progressive (each new frame serves the next), or a picture
    steps: int | None = None  # sampling steps; None: the pipeline's
    one_start: bool = False  # the same start noise for all frames, which flickers less
    paste: bool = True  # the original outside a feathered mask; False: the square as the networks made it
    max_size: int = 1280  # longest side of the source in pixels
    max_frames: int = 0  # frames made at most; 0: as many as the recording needs
    logits: str | None = None  # .npy of speech logits of the extractor that the model was trained with
    crf: int = 18  # quality of the video
    tag: bool = True  # say in the file that it is synthetic


def check_options(options: AnimateOptions) -> AnimateOptions:
    """The options themselves, when they can be used. Raises InputError."""
    if options.steps is not None:
        ddim_timesteps(options.steps)
    if not 0 <= options.crf <= 51:
        raise InputError(f"--crf {options.crf}: give 0 to 51")
    if options.max_frames < 0:
        raise InputError(f"--max_frames {options.max_frames}: give 0 (all) or more")
    return options


@dataclass(frozen=True)
class AnimateResult:
    """What was made: frames, sampling steps per frame, seconds of sampling and in all."""

    output: Path
    frames: int
    steps: int
    sampling: float
    elapsed: float


@dataclass(frozen=True)
class Source:
    """The driven person: frames by number (they run back and forth), landmarks (n, 68, 2) and the square."""

    frames: list[np.ndarray]
    landmarks: np.ndarray
    square: Square

    def place(self, k: int) -> int:
        """Which source frame output frame k shows: forwards, then backwards, and so on."""
        last = len(self.frames) - 1
        return last - abs(k % (2 * last) - last) if last else 0


def animate(
    pipeline: Any,
    source: str | Path,
    audio: str | Path,
    output: str | Path,
    options: AnimateOptions = AnimateOptions(),
    progress: Callable[[int, int], None] | None = None,
) -> AnimateResult:
    """Make `output` (mp4) of `source`, talking as in `audio`. Nothing is left behind when it fails.

    Raises DittoError for what a user can mend.
    """
    began = time.perf_counter()
    steps = len(ddim_timesteps(options.steps or pipeline.settings.steps))
    check_output(output, (source, audio))
    speech = _speech(pipeline, audio, options)
    person = read_source(source, options.max_size, len(speech))
    writer = VideoWriter(output, person.frames[0].shape[:2], FPS, options.crf, audio=audio, tag=options.tag)
    spent = 0.0
    try:
        clip = Clip(pipeline, person, options)
        size = 1 if options.reference == "progressive" else pipeline.settings.batch
        for first in range(0, len(speech), size):
            numbers = list(range(first, min(first + size, len(speech))))
            before = time.perf_counter()
            made = clip.make(numbers, speech[numbers])
            spent += time.perf_counter() - before
            for k, face in zip(numbers, made):
                writer.write(clip.put_back(k, face))
                if progress is not None:
                    progress(k + 1, len(speech))
        writer.close()
    except BaseException:
        writer.abort()
        raise
    return AnimateResult(Path(output), len(speech), steps, spent, time.perf_counter() - began)


class Clip:
    """The frames of one run. Source frames are encoded once, however often they are shown."""

    def __init__(self, pipeline: Any, person: Source, options: AnimateOptions):
        self._pipeline, self._person, self._options = pipeline, person, options
        self._size = pipeline.size
        self._cache: dict[int, tuple[Tensor, Tensor]] = {}
        side = pipeline.model.config.latent_size
        self._shape = (LATENT_CHANNELS, side, side)
        start = seeded_noise((1, *self._shape), pipeline.settings.seed, pipeline.device)
        self._start = start() if options.one_start else None
        picture = person.frames[0]
        if options.reference in ("first", "progressive"):
            face = person.square.cut(picture)
        else:
            face = _reference_face(options.reference, options.max_size)
        self._reference = self._latents(pictures.resize(face, self._size)[None])

    def make(self, numbers: list[int], speech: np.ndarray) -> np.ndarray:
        """Faces (B, size, size, 3) uint8 of output frames, for speech (B, 8, 16, 29)."""
        pipeline, person = self._pipeline, self._person
        places = [person.place(k) for k in numbers]
        latent, masked = (torch.cat(parts) for parts in zip(*map(self._encoded, places)))
        points = np.stack([person.square.points(person.landmarks[p], self._size) for p in places])
        landmarks = torch.from_numpy(points[:, list(pictures.KEPT)].astype(np.float32))
        context = pipeline.context(torch.from_numpy(speech), landmarks)
        reference = self._reference.expand(len(numbers), -1, -1, -1)
        keep = torch.from_numpy(np.stack([self._keep(p) for p in places]))
        noise = seeded_noise((len(numbers), *self._shape), pipeline.settings.seed + 1 + numbers[0], pipeline.device)
        start = None if self._start is None else self._start.expand(len(numbers), -1, -1, -1)
        made = pipeline.sample(Encoded(latent, masked, reference, context), keep, noise, start, self._options.steps)
        faces = pipeline.decode(made)
        if self._options.reference == "progressive":
            self._reference = self._latents(faces[-1:])
        return faces

    def put_back(self, k: int, face: np.ndarray) -> np.ndarray:
        """The source frame (H, W, 3) uint8 with a new face in it."""
        place = self._person.place(k)
        frame, square = self._person.frames[place], self._person.square
        large = cv2.resize(face, (square.side, square.side), interpolation=cv2.INTER_CUBIC)
        weight = np.ones((square.side, square.side), np.float32)
        if self._options.paste:
            polygon = square.points(self._person.landmarks[place])[list(pictures.OUTLINE)].astype(np.int32)
            weight = cv2.fillPoly(np.zeros_like(weight), [polygon], 1)
            weight = cv2.GaussianBlur(weight, (0, 0), max(1.0, FEATHER * square.side))
        return _paste(frame, large, weight, square)

    def _encoded(self, place: int) -> tuple[Tensor, Tensor]:
        """Latents of a source frame and of its masked version."""
        if place not in self._cache:
            person = self._person
            face = pictures.resize(person.square.cut(person.frames[place]), self._size)
            points = person.square.points(person.landmarks[place], self._size)
            row = pictures.first_masked_row(points, self._pipeline.settings.mask_point, 1.0)
            both = self._latents(np.stack([face, pictures.black_out(face, row)]))
            self._cache[place] = (both[:1], both[1:])
        return self._cache[place]

    def _keep(self, place: int) -> np.ndarray:
        square = self._person.square
        points = square.points(self._person.landmarks[place])
        return pictures.keep_mask(points, square.side, square.side, self._size, f"frame {place + 1} of the source")

    def _latents(self, faces: np.ndarray) -> Tensor:
        """Faces (B, size, size, 3) uint8 -> latents."""
        return self._pipeline.latents(torch.from_numpy(pictures.to_float(faces)))


def read_source(source: str | Path, max_size: int, most: int) -> Source:
    """A portrait, or up to `most` frames of a video, with its face. Raises InputError naming a frame without one."""
    still = is_image(source)
    frames: Iterator[np.ndarray] = iter([read_image(source, max_size)] if still else VideoReader(source, max_size))
    taken = [frame for frame, _k in zip(frames, range(most))]
    found = []
    for k, points in enumerate(follow(taken, load_tracker())):
        if points is None:
            where = "it" if still else f"frame {k + 1}"
            raise InputError(f"{source}: no face was found in {where}; DiffTalk needs the landmarks of every frame")
        found.append(points)
    landmarks = np.stack(found)
    return Source(taken, landmarks, square_of(landmarks, *taken[0].shape[:2], source))


def _speech(pipeline: Any, audio: str | Path, options: AnimateOptions) -> np.ndarray:
    speech, extractor = conditions_of(audio, options.logits)
    known = pipeline.audio_features
    if known is None:
        LOG.warning("the checkpoint does not say which speech features it was trained with; using %s", extractor)
    elif known != extractor:
        raise InputError(f"the model was trained with speech features '{known}', not '{extractor}' (see --logits)")
    return speech[: options.max_frames] if options.max_frames > 0 else speech


def _reference_face(path: str, max_size: int) -> np.ndarray:
    person = read_source(path, max_size, 1)
    return person.square.cut(person.frames[0])


def _paste(frame: np.ndarray, face: np.ndarray, weight: np.ndarray, square: Square) -> np.ndarray:
    """`frame` with the square `face` laid over it where `weight` (0..1) is high; parts beyond the frame are lost."""
    height, width = frame.shape[:2]
    top, left = max(0, square.top), max(0, square.left)
    bottom, right = min(height, square.top + square.side), min(width, square.left + square.side)
    inside = np.s_[top - square.top : bottom - square.top, left - square.left : right - square.left]
    old, share = frame[top:bottom, left:right], weight[inside][..., None]
    out = frame.copy()
    out[top:bottom, left:right] = np.rint(old + (face[inside].astype(np.float32) - old) * share).astype(np.uint8)
    return out
