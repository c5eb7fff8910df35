"""Options of the preparation; the command lines are made from these dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class FeatureOptions:
    """What decides how the features come out. A clip whose options changed is done again."""

    # folder of a model pack, its name under checkpoints/, or "auto" for the best one that is there
    data_root: str = "auto"
    # configuration of the pack, .pkl or .yaml; empty: the one inside the pack
    cfg_pkl: str = ""
    # side of the crop over the side of the face
    crop_scale: float = 2.2
    # shift of the crop down, in crop sides; negative is up
    crop_vy_ratio: float = -0.1
    # quality of the cropped video, 0 (best) to 51
    crop_crf: int = 18
    # frames without a face that are bridged; a clip with a longer gap is refused
    max_gap: int = 12
    # classifier: auto (the best one that is there), enet_b2_8, fer or neutral
    emo_source: Literal["auto", "enet_b2_8", "fer", "neutral"] = "auto"
    # file of enet_b2_8 as ONNX; empty: where emotiefflib keeps it
    emo_model: str = ""
    # half precision on a GPU; features then differ a little from those of a CPU
    fp16: bool = False


@dataclass(frozen=True)
class RunOptions:
    """How the work is done; no influence on the features."""

    # processes; 0 works in this one, which a broken video can take down
    workers: int = 1
    # local processes, or Ray on one or several machines that share the files
    engine: Literal["local", "ray"] = "local"
    # address of a running Ray cluster; empty starts one on this machine
    address: str = ""
    # auto, cpu, cuda, cuda:1 (the embedded pack always works on the CPU)
    device: str = "auto"
    # first clip of the lists to work on
    data_start: int = 0
    # the clip after the last one; -1: all
    data_end: int = -1
    # do finished clips again
    overwrite: bool = False
    # exit status 0 although clips failed, as long as some can be used
    tolerate_failures: bool = False
    # no progress bar, only problems
    quiet: bool = False


@dataclass(frozen=True)
class GatherOptions:
    """Which features a record names."""

    # emotion scores
    use_emo: bool = False
    # openness of the eyes
    use_eye_open: bool = False
    # gaze
    use_eye_ball: bool = False
    # 478 landmarks
    use_lmk: bool = False
    # mirrored clips too
    with_flip: bool = False
    # v2 is the only one
    dataset_version: str = "v2"
    # key of the audio features in data_info.json
    aud_feat_name: str = "hubert_aud_npy_list"
    # shorter clips are left out: a window of 80 frames and the frame before it
    min_frames: int = 81


@dataclass(frozen=True)
class PreloadOptions:
    """What goes into the preload file."""

    # motion columns
    motion_feat_dim: int = 265
    # first motion column
    motion_feat_start: int = 0
    # window length
    seq_frames: int = 80
    # emotion scores
    use_emo: bool = False
    # openness of the eyes
    use_eye_open: bool = False
    # gaze
    use_eye_ball: bool = False
    # canonical keypoints
    use_sc: bool = False
    # 478 landmarks
    use_lmk: bool = False
    # v2 is the only one
    dataset_version: str = "v2"


@dataclass(frozen=True)
class WorkOrder:
    """What a worker has to know: which steps, how, and with which emotion classifier."""

    steps: tuple[str, ...]
    status_dir: str
    features: FeatureOptions = field(default_factory=FeatureOptions)
    device: str = "auto"
    overwrite: bool = False
    threads: int = 1
