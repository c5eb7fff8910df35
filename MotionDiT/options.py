"""Every setting of a training run, in one place. The names and defaults of spec training.md 6 come first; then ours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import InputError
from core.models.lmdm import LmdmSizes

ROOT = Path(__file__).resolve().parent.parent
SMALL = LmdmSizes(width=192, heads=4, feedforward=384, encoder_layers=1, decoder_layers=4)  # what --small stands for


@dataclass(frozen=True)
class TrainOptions:
    """Train the motion diffusion network on prepared features (see docs/training.md)."""

    # -- run folder --
    experiment_dir: str = str(ROOT / "experiments" / "s2")  # parent of the run folder
    experiment_name: str = ""  # name of the run folder (required)
    resume: bool = False  # go on with the run of this name from its last saved state
    overwrite: bool = False  # delete what a run of this name left

    # -- data --
    data_list_json: str = ""  # list of records, one per clip (required)
    data_preload: bool = False  # load all features into memory
    data_preload_pkl: str = ""  # with --data_preload: use this file; it is made when it is not there
    data_mmap_dir: str = ""  # folder of packed features that preload_train_data_to_pkl.py made, mapped into memory
    reprepare_idx_map: bool = False  # accepted; windows are always counted anew, which costs nothing
    data_cache: bool = False  # keep every clip in memory after its first use, when features are read from disk
    mtn_mean_var_npy: str = ""  # normalise motion with this [2, dim] file, or "auto": with the training data's own
    motion_feat_start: int = 0  # first motion column
    motion_feat_offset_dim_se: tuple[int, ...] = ()  # first and end column that are relative to the condition frame
    use_emo: bool = False  # condition on the emotion, 8 columns
    use_eye_open: bool = False  # condition on the opening of the eyes, 2 columns
    use_eye_ball: bool = False  # condition on the gaze, 6 columns
    use_sc: bool = False  # condition on the canonical keypoints, 63 columns
    use_lmk: bool = False  # condition on landmarks, 1434 columns
    use_last_frame: bool = False  # condition frame = the frame before the window, instead of any frame of the clip
    use_cond_end: bool = False  # accepted; has no effect in training
    dataset_version: str = "v2"  # only v2 exists
    motion_feat_dim: int = 265  # motion columns
    audio_feat_dim: int = 1103  # width of the whole condition; 0: whatever data and flags give
    seq_frames: int = 80  # frames per window
    drop_last: bool = True  # leave out the samples of an epoch that do not fill a batch
    val_split: float = 0.0  # part of the videos kept out for validation, mirrored twins included
    val_data_list_json: str = ""  # records for validation instead of a split
    val_freq: int = 1  # epochs between validations

    # -- loop --
    use_accelerate: bool = True  # --no-use_accelerate: one process without that package
    device: str = "auto"  # of a run without accelerate: auto, cpu, cuda, cuda:0, mps
    mixed_precision: Literal["", "no", "fp16", "bf16"] = ""  # "": as accelerate was launched
    compile: bool = False  # fuse operations with torch.compile; needs a C++ compiler on the CPU
    cpu_threads: int = 0  # threads per process on the CPU; 0: all cores, shared between the processes
    seed: int = 0  # decides weights, order, noise and dropout
    epochs: int = 1000  # passes over the windows
    batch_size: int = 512  # windows per process and step
    num_workers: int = 0  # threads that assemble batches ahead; 0 is one thread
    log_every: int = 20  # steps between looks at the losses, the only waits for the GPU

    # -- optimisation --
    lr: float = 1e-4  # learning rate
    warmup_steps: int = 0  # steps over which the learning rate grows from 0
    lr_schedule: Literal["constant", "cosine"] = "constant"  # cosine falls to --min_lr at the last step
    min_lr: float = 0.0  # where the cosine ends
    weight_decay: float = 0.02  # of Adan
    clip_grad_norm: float = 0.0  # longest gradient, 0: any
    ema_decay: float = 0.0  # averaged weights, 0.999 is usual; they are what is validated and saved. 0: off
    part_w_dict_json: str = ""  # JSON: part -> [first column, end, weight], instead of the six parts
    adaptive_loss: bool = False  # weigh the parts by their convergence, see docs/training.md
    use_last_frame_loss: bool = False  # pull the first frame to the condition frame
    use_reg_loss: bool = False  # pull motion to zero, very gently
    dim_ws_npy: str = ""  # weight of each motion column
    cond_drop_prob: float = 0.2  # share of the samples trained without condition, for guidance
    frame_drop_prob: float = 0.0  # share of the samples that see zeros instead of the condition frame; 1: never see it
    dropout: float = 0.1  # inside the network

    # -- network --
    checkpoint: str = ""  # weights to start from
    small: bool = False  # width 192, 4 heads, feed-forward 384, 1 + 4 layers: 3 million weights, for CPUs
    latent_dim: int = 0  # width; 0: 512, or that of --small
    num_heads: int = 0  # attention heads; 0: 8, or those of --small
    ff_size: int = 0  # width of the feed-forward parts; 0: 1024, or that of --small
    cond_layers: int = 0  # layers of the condition encoder; 0: 2, or those of --small
    num_layers: int = 0  # decoder layers; 0: 8, or those of --small

    # -- files --
    save_ckpt_freq: int = 50  # train_N.pt stays if N is a multiple of this; of the others the last five do
    max_ckpts: int = 0  # most train_N files kept in all, 0: any number
    ckpt_format: Literal["pt", "safetensors"] = "pt"  # of train_N, best_model and last_model
    state_minutes: float = 5.0  # least time between two saved states for --resume; 0: after every epoch

    def sizes(self) -> LmdmSizes:
        """Sizes of the network; `cond` is `audio_feat_dim`. Raises InputError when they are impossible."""
        preset = SMALL if self.small else LmdmSizes()
        try:
            return LmdmSizes(
                frames=self.seq_frames,
                motion=self.motion_feat_dim,
                cond=self.audio_feat_dim,
                width=self.latent_dim or preset.width,
                heads=self.num_heads or preset.heads,
                feedforward=self.ff_size or preset.feedforward,
                encoder_layers=self.cond_layers or preset.encoder_layers,
                decoder_layers=self.num_layers or preset.decoder_layers,
            )
        except ValueError as error:
            raise InputError(f"{error}; change --latent_dim or --num_heads") from None

    @property
    def run_folder(self) -> Path:
        """experiment_dir/experiment_name."""
        return Path(self.experiment_dir) / self.experiment_name

    def learning_rate(self, step: int, total: int) -> float:
        """Learning rate of step 0 .. total - 1: linear warm-up, then constant or a half cosine (SGDR, 1608.03983)."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        if self.lr_schedule == "constant":
            return self.lr
        done = min(1.0, (step - self.warmup_steps) / max(1, total - 1 - self.warmup_steps))
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * done)) / 2


AT_LEAST = {  # option -> smallest value
    **dict.fromkeys(("seq_frames", "epochs", "batch_size", "motion_feat_dim", "save_ckpt_freq", "val_freq"), 1),
    **dict.fromkeys(("log_every",), 1),
    **dict.fromkeys(("motion_feat_start", "audio_feat_dim", "num_workers", "warmup_steps", "max_ckpts", "seed"), 0),
    **dict.fromkeys(("latent_dim", "num_heads", "ff_size", "cond_layers", "num_layers", "cpu_threads"), 0),
    **dict.fromkeys(("min_lr", "weight_decay", "clip_grad_norm", "state_minutes"), 0),
}
BELOW_ONE = ("ema_decay", "val_split", "cond_drop_prob", "dropout")  # 0 <= value < 1
FILES = ("data_list_json", "val_data_list_json", "part_w_dict_json", "dim_ws_npy", "checkpoint")


def check(options: TrainOptions) -> None:
    """Raise InputError for a value that cannot be meant, before anything is loaded."""
    for name in ("experiment_name", "data_list_json"):
        if not getattr(options, name):
            raise InputError(f"--{name} is missing")
    for name, least in AT_LEAST.items():
        if getattr(options, name) < least:
            raise InputError(f"--{name} is {getattr(options, name)}; it must be at least {least}")
    for name in BELOW_ONE:
        if not 0 <= getattr(options, name) < 1:
            raise InputError(f"--{name} is {getattr(options, name)}; it must be 0 or more and below 1")
    if not 0 <= options.frame_drop_prob <= 1:
        raise InputError(f"--frame_drop_prob is {options.frame_drop_prob}; it must be 0 .. 1")
    if not options.lr > 0:
        raise InputError(f"--lr is {options.lr}; it must be above 0")
    if options.dataset_version != "v2":
        raise InputError(f"--dataset_version {options.dataset_version}: only v2 exists")
    columns = options.motion_feat_offset_dim_se
    if columns and not (len(columns) == 2 and 0 <= columns[0] < columns[1] <= options.motion_feat_dim):
        raise InputError(f"--motion_feat_offset_dim_se {columns}: give two columns within 0 .. motion_feat_dim")
    if options.resume and options.overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if options.data_mmap_dir and (options.data_preload or options.data_cache):
        raise InputError("--data_mmap_dir excludes --data_preload and --data_cache")
    for name in FILES:
        path = getattr(options, name)
        if path and not Path(path).is_file():
            raise InputError(f"--{name}: there is no file {path}")
    options.sizes()
