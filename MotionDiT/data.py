"""From options to the windows of training and of validation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from MotionDiT import features, preloaded
from MotionDiT.features import Clip, Wanted
from MotionDiT.network import check_condition
from MotionDiT.options import TrainOptions
from MotionDiT.records import Record, fingerprint, read_records, require_files, split
from MotionDiT.windows import Scaling, Windows, index_map, measure, read_scaling

LOG = logging.getLogger(__name__)
OVERLAP = 4  # validation looks at every (S / OVERLAP)th window


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Attributes:
        train, validation: windows; validation is None without one. condition: column group -> width.
        scaling: of the motion, or None. name: fingerprint of the records.
    """

    train: Windows
    validation: Windows | None
    condition: dict[str, int]
    scaling: Scaling | None
    name: str


def load_data(options: TrainOptions, writes: bool = True) -> Data:
    """Open and check the features. `writes`: this process may make the preload pickle. Raises InputError."""
    wanted = Wanted.of(options)
    records = read_records(options.data_list_json, wanted.files)
    clips = open_clips(options, records, wanted, writes)
    condition = features.check(clips, wanted)
    check_condition(options.audio_feat_dim, condition)
    chosen, held = split(records, 0.0 if options.val_data_list_json else options.val_split, options.seed)
    train: Sequence[Clip] = features.Subset(clips, chosen)
    validation = _validation_clips(options, wanted, condition) if options.val_data_list_json else None
    if held:
        validation = features.Subset(clips, held)
    scaling = _scaling(options, train)

    def windows(some: Sequence[Clip], stride: int = 1) -> Windows:
        relative = options.motion_feat_offset_dim_se
        return Windows(some, options.seq_frames, wanted.extras, options.use_last_frame, relative, scaling, stride)

    kept_out = None if validation is None else windows(validation, max(1, options.seq_frames // OVERLAP))
    if kept_out is not None and not len(kept_out):
        raise InputError(f"the validation clips have no window of {options.seq_frames} frames; keep out more clips")
    return Data(windows(train), kept_out, condition, scaling, fingerprint([records[i] for i in chosen]))


def open_clips(options: TrainOptions, records: Sequence[Record], wanted: Wanted, writes: bool) -> Sequence[Clip]:
    """The clips of the records from wherever the options say."""
    if options.data_mmap_dir:
        return preloaded.read_packed(options.data_mmap_dir, records, wanted)
    pickled = Path(options.data_preload_pkl) if options.data_preload and options.data_preload_pkl else None
    if pickled is not None and pickled.is_file():
        return preloaded.read_pickle(pickled, records, wanted)
    require_files(records)
    if not options.data_preload:
        return features.DiskClips(records, wanted, keep=options.data_cache)
    clips = [features.read_clip(record, wanted, copy=True) for record in records]
    if pickled is not None and writes:
        features.check(clips, wanted)
        preloaded.write_pickle(pickled, clips, index_map([clip.frames for clip in clips], options.seq_frames))
    return clips


def _validation_clips(options: TrainOptions, wanted: Wanted, condition: dict[str, int]) -> Sequence[Clip]:
    records = read_records(options.val_data_list_json, wanted.files)
    require_files(records)
    clips = features.DiskClips(records, wanted, keep=options.data_cache or options.data_preload)
    found = features.check(clips, wanted)
    if found != condition:
        path = options.val_data_list_json
        raise InputError(f"{path}: its features have widths {found}, those of the training set {condition}")
    return clips


def _scaling(options: TrainOptions, clips: Sequence[Clip]) -> Scaling | None:
    if options.mtn_mean_var_npy == "auto":
        return measure([clips[i] for i in range(len(clips))])
    return read_scaling(options.mtn_mean_var_npy, options.motion_feat_dim) if options.mtn_mean_var_npy else None
