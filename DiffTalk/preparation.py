"""Videos of talking people -> the data set layout (spec difftalk.md sections 8 and 9)."""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import InputError, OutputError
from core.lite.face_tracker import FaceTracker
from core.media import VideoReader
from DiffTalk.crop import square_of
from DiffTalk.dataset import EXTRACTOR_FILE, Layout
from DiffTalk.landmarks import follow, load_tracker
from DiffTalk.pictures import keep_mask
from DiffTalk.speech import FROM_FILE, SpeechLogits, conditions_of

LOG = logging.getLogger(__name__)
MOST_FRAMES = 1499  # of a clip, the first minute: the published convention
SLACK = 5  # frames by which picture and sound of a clip may differ in length
JPEG_QUALITY = 95
MAX_SIDE = 1280  # larger videos are reduced while reading


@dataclass(frozen=True)
class PrepareOptions:
    """How videos become training frames."""

    size: int = 256  # side of the pictures
    max_frames: int = MOST_FRAMES  # per clip
    skip_missing: bool = False  # leave out frames without a usable face instead of stopping
    test: int = -1  # clips kept for testing; -1: a tenth of them, or the last tenth of a single one


def prepare(
    videos: Sequence[Path],
    out: Path,
    options: PrepareOptions = PrepareOptions(),
    logits: Path | None = None,
    progress: Callable[[str], None] = LOG.info,
) -> None:
    """Write the data set of `videos` (each one person) to the new folder `out`, which appears when it is complete.

    Args:
        logits: folder with speech logits (rows, 29) of another extractor, NAME.npy for NAME.mp4; None extracts them.

    Raises InputError for videos that cannot be used and OutputError when `out` exists or cannot be written.
    """
    if not videos:
        raise InputError("no videos were given")
    if not -1 <= options.test < len(videos):
        raise InputError(f"{options.test} test clips of {len(videos)} leave nothing to train with")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: exists already; choose a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{out.name}-", suffix=".tmp", dir=out.parent))
    except OSError as error:
        raise OutputError(f"{out}: cannot write there ({error.strerror})") from None
    try:
        _fill(videos, working, options, logits, progress)
        if out.exists():
            out.rmdir()
        working.chmod(0o755)  # mkdtemp keeps others out
        working.rename(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot write the data set ({error.strerror})") from None
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _fill(
    videos: Sequence[Path], root: Path, options: PrepareOptions, logits: Path | None, progress: Callable[[str], None]
) -> None:
    layout = Layout(root)
    for folder in ("images", "landmarks", "audio_smooth"):
        (layout.base / folder).mkdir(parents=True)
    tracker = load_tracker()
    stems: list[list[str]] = []
    counts, names = [], []
    for identity, video in enumerate(videos, 1):
        rows = None if logits is None else logits / f"{video.stem}.npy"
        frames = prepare_clip(video, identity, layout, tracker, options, rows)
        stems.append([f"{identity}_{frame}" for frame in frames])
        counts.append(f"{identity} {max(frames) + 1}")
        names.append(f"{identity} {video.name}")
        progress(f"{video.name}: identity {identity}, {len(frames)} frames")
    train, test = split(stems, options.test)
    for path, lines in (
        (root / "data_train.txt", train),
        (root / "data_test.txt", test),
        (layout.base / "data.txt", counts),
        (layout.base / "names.txt", names),
        (layout.base / EXTRACTOR_FILE, [SpeechLogits.name if logits is None else FROM_FILE]),
    ):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def split(stems: list[list[str]], test: int) -> tuple[list[str], list[str]]:
    """Stems of each clip -> training and test list. The last clips are the test, or the last tenth of a single one."""
    if test == -1:
        test = max(1, len(stems) // 10) if len(stems) > 1 else 0
    if test:
        return list(itertools.chain(*stems[:-test])), list(itertools.chain(*stems[-test:]))
    flat = list(itertools.chain(*stems))
    cut = max(1, len(flat) // 10)
    return flat[:-cut], flat[-cut:]


def prepare_clip(
    video: Path, identity: int, layout: Layout, tracker: FaceTracker, options: PrepareOptions, logits: Path | None
) -> list[int]:
    """Write the pictures, landmarks and speech windows of one video; returns the numbers of its frames, from 1.

    Raises InputError naming the video and frame for what cannot be used.
    """
    reader = VideoReader(video, MAX_SIDE)
    found = list(follow(itertools.islice(reader, options.max_frames), tracker))
    audio, _name = conditions_of(video, logits)
    if len(found) < options.max_frames and abs(len(audio) - len(found)) > SLACK:
        raise InputError(f"{video}: {len(found)} pictures but sound for {len(audio)}; cut the longer one")
    usable = [k for k in range(min(len(found), len(audio))) if _usable(found[k], video, k, options.skip_missing)]
    if len(usable) < 2:
        raise InputError(f"{video}: no face was found in it, or in a single frame only")
    first = next(iter(reader))
    square = square_of(np.stack([found[k] for k in usable]), *first.shape[:2], video)
    written = []
    chosen = set(usable)
    for k, frame in enumerate(itertools.islice(reader, max(usable) + 1)):
        if k not in chosen:
            continue
        points = square.points(found[k], options.size)
        stem = f"{identity}_{k + 1}"
        try:
            keep_mask(points, options.size, options.size, options.size, f"{video}, frame {k + 1}")
        except InputError as error:
            if not options.skip_missing:
                raise
            LOG.warning("left out: %s", error)
            continue
        Image.fromarray(square.cut(frame, options.size)).save(layout.picture(stem), quality=JPEG_QUALITY)
        np.savetxt(layout.landmarks(stem), points, "%.3f")
        np.save(layout.audio(stem), audio[k])
        written.append(k + 1)
    if len(written) < 2:
        raise InputError(f"{video}: none of its frames can be used")
    return written


def _usable(points: np.ndarray | None, video: Path, frame: int, skip: bool) -> bool:
    if points is None and not skip:
        raise InputError(f"{video}: no face in frame {frame + 1}; cut the video, or use --skip_missing")
    return points is not None
