"""Deterministic stand-in weights, inputs and a tiny data tree for the DiffTalk goldens.

numpy only (``write_tree`` also needs Pillow).  Same number recipe as weights.py:
every tensor is a pure function of (network name, parameter name, shape).  A PCG64
bit stream seeded with the crc32 of "<net>/<parameter>" becomes uniform float32
numbers with exact arithmetic (no libm calls), which the first rule in RULES whose
pattern matches the parameter name then shifts and scales.  The order in which
tensors are built does not matter.

    import difftalk_weights as dw
    sd = dw.build("difftalk_tiny")                        # whole state_dict, {name: ndarray}
    sd = dw.build("difftalk", prefix="first_stage_model.")  # one part of it, names kept whole
    ckpt = dw.checkpoint("difftalk_tiny")                 # nested like a training checkpoint
    dw.write_tree("somewhere")                            # synthetic HDTF tree

Nets: "difftalk" (published size, difftalk_manifest.json) and "difftalk_tiny"
(difftalk_tiny_manifest.json).

Command line:  python difftalk_weights.py           checks the sums in difftalk_crc.json
               python difftalk_weights.py --full    also goes through every full-size tensor (a minute)
               python difftalk_weights.py --print   prints the sums instead
"""

import json
import os
import re
import sys
import zlib

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
NETS = ("difftalk", "difftalk_tiny")
MANIFESTS = {"difftalk": "difftalk_manifest.json", "difftalk_tiny": "difftalk_tiny_manifest.json"}
SQRT3 = 1.7320508075688772
EMA_FACTOR = 0.9375  # shadow = live * 15/16: exact in float32, and visibly not the live weights
EMA_UPDATES = 1000
EMA_DECAY = 0.9999


# ----------------------------------------------------------------- raw numbers
def uniform(tag, shape):
    """float32 in the open interval (-1, 1), an odd multiple of 2**-23, from the tag."""
    count = int(np.prod(shape, dtype=np.int64)) if len(shape) else 1
    words = np.random.PCG64(zlib.crc32(tag.encode("utf-8"))).random_raw((count + 1) // 2)
    bits = np.asarray(words).astype("<u8").view("<u4")[:count] >> np.uint32(9)
    odd = (bits.astype(np.int32) * 2 + 1).astype(np.float32)
    return (odd * np.float32(2.0**-23) - np.float32(1.0)).reshape(shape)


def ranged(tag, shape, low, high):
    mid, half = np.float32((high + low) / 2), np.float32((high - low) / 2)
    return uniform(tag, shape) * half + mid


def unit_noise(tag, shape):
    """float32 uniform noise with zero mean and unit variance."""
    return uniform(tag, shape) * np.float32(SQRT3)


def smooth(tag, shape, knots, low, high, grain=0.0):
    """Random field on the last two axes: knots x knots control values, bilinear between them."""
    lead, (h, w) = tuple(shape[:-2]), shape[-2:]
    ctrl = ranged(tag, lead + (knots, knots), low, high).astype(np.float64)

    def axis(n):
        pos = np.arange(n, dtype=np.float64) * (knots - 1) / max(n - 1, 1)
        left = np.minimum(pos.astype(np.int64), knots - 2)
        return left, pos - left

    iy, fy = axis(h)
    ix, fx = axis(w)
    rows = ctrl[..., iy, :] * (1.0 - fy)[:, None] + ctrl[..., iy + 1, :] * fy[:, None]
    out = (rows[..., ix] * (1.0 - fx) + rows[..., ix + 1] * fx).astype(np.float32)
    if grain:
        out = out + uniform(tag + "/grain", shape) * np.float32(grain)
    return out


def crc(array):
    """crc32 of the little-endian C-order bytes."""
    a = np.ascontiguousarray(array)
    return zlib.crc32(a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes())


# ----------------------------------------------------------------------- rules
# (pattern, kind, arguments), first match wins.
#   fanin g : uniform with variance g*g / fan_in, fan_in = product of all axes but the first
#   range   : uniform in (a, b)
RULES = [
    # audio window encoder, temporal attention, landmark encoder
    (r"^cond_stage_model_for_audio\.encoder_conv\.0\.weight$", "fanin", (0.5,)),
    (r"^cond_stage_model_for_audio\..*weight$", "fanin", (1.4,)),
    (r"^cond_stage_model_for_audio_smooth\.attentionNet\.0\.weight$", "fanin", (2.5,)),
    (r"^cond_stage_model_for_audio_smooth\..*weight$", "fanin", (2.0,)),
    (r"^cond_stage_model_for_ldm\.encoder_fc1\.0\.weight$", "fanin", (0.03,)),
    (r"^cond_stage_model_for_ldm\..*weight$", "fanin", (1.4,)),
    # first stage
    (r"quantize\.embedding\.weight$", "range", (-1.6, 1.6)),
    (r"^first_stage_model\..*norm\w*\.weight$", "range", (0.7, 1.3)),
    (r"^first_stage_model\..*norm\w*\.bias$", "range", (-0.2, 0.2)),
    (r"attn_1\.[qk]\.weight$", "fanin", (1.7,)),
    (r"\.conv1\.weight$", "fanin", (1.4,)),
    (r"\.conv2\.weight$", "fanin", (0.9,)),
    (r"^first_stage_model\.decoder\.conv_out\.weight$", "fanin", (0.8,)),
    (r"^first_stage_model\.encoder\.conv_in\.weight$", "fanin", (2.0,)),
    (r"^first_stage_model\..*weight$", "fanin", (1.0,)),
    # denoising network
    (r"(in_layers|out_layers|\.out)\.0\.weight$", "range", (0.7, 1.3)),
    (r"(in_layers|out_layers|\.out)\.0\.bias$", "range", (-0.2, 0.2)),
    (r"\.norm\d?\.weight$", "range", (0.7, 1.3)),
    (r"\.norm\d?\.bias$", "range", (-0.2, 0.2)),
    (r"to_[qk]\.weight$", "fanin", (1.7,)),
    (r"attn2\.to_v\.weight$", "fanin", (2.0,)),
    (r"time_embed\.\d\.weight$", "fanin", (1.5,)),
    (r"in_layers\.2\.weight$", "fanin", (1.4,)),
    (r"out_layers\.3\.weight$", "fanin", (0.9,)),
    (r"ff\.net\.0\.proj\.weight$", "fanin", (1.4,)),
    (r"\.out\.2\.weight$", "fanin", (1.6,)),
    (r"weight$", "fanin", (1.0,)),
    (r"bias$", "range", (-0.1, 0.1)),
]


def rule_for(name):
    for pattern, kind, args in RULES:
        if re.search(pattern, name):
            return kind, args
    raise KeyError(f"no rule for {name}")


def make(net, name, shape):
    kind, args = rule_for(name)
    tag = f"{net}/{name}"
    if kind == "range":
        return ranged(tag, shape, *args)
    fan = int(np.prod(shape[1:], dtype=np.int64))
    return uniform(tag, shape) * np.float32(SQRT3 * args[0] / fan**0.5)


def schedule(linear_start=0.0015, linear_end=0.0195, timesteps=1000):
    """The twelve registered buffers, float64 arithmetic rounded once to float32."""
    root = np.linspace(linear_start**0.5, linear_end**0.5, timesteps, dtype=np.float64)
    betas = root**2
    alphas = 1.0 - betas
    ac = np.cumprod(alphas)
    prev = np.append(1.0, ac[:-1])
    var = betas * (1.0 - prev) / (1.0 - ac)
    out = {
        "betas": betas,
        "alphas_cumprod": ac,
        "alphas_cumprod_prev": prev,
        "sqrt_alphas_cumprod": np.sqrt(ac),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1.0 - ac),
        "log_one_minus_alphas_cumprod": np.log(1.0 - ac),
        "sqrt_recip_alphas_cumprod": np.sqrt(1.0 / ac),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1.0 / ac - 1.0),
        "posterior_variance": var,
        "posterior_log_variance_clipped": np.log(np.maximum(var, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(prev) / (1.0 - ac),
        "posterior_mean_coef2": (1.0 - prev) * np.sqrt(alphas) / (1.0 - ac),
    }
    return {k: v.astype(np.float32) for k, v in out.items()}


def load_manifest(net):
    with open(os.path.join(HERE, MANIFESTS[net]), encoding="utf-8") as f:
        return json.load(f)


def each(net, prefix="", manifest=None):
    """(name, ndarray) pairs in checkpoint order, for the names that start with prefix."""
    table = (manifest or load_manifest(net))["state_dict"]
    shadows = {"model_ema." + k[len("model.") :].replace(".", ""): k for k in table if k.startswith("model.")}
    sched = schedule()
    for name, (shape, dtype) in table.items():
        if not name.startswith(prefix):
            continue
        shape = tuple(shape)
        if name in sched:
            value = sched[name]
        elif name == "model_ema.decay":
            value = np.array(EMA_DECAY, np.float32)
        elif name == "model_ema.num_updates":
            value = np.array(EMA_UPDATES, np.int32)
        elif name in shadows:
            value = make(net, shadows[name], shape) * np.float32(EMA_FACTOR)
        else:
            value = make(net, name, shape)
        if value.shape != shape or str(value.dtype) != dtype:
            raise ValueError(f"{name}: built {value.shape} {value.dtype}, manifest says {shape} {dtype}")
        yield name, np.ascontiguousarray(value).reshape(shape)


def build(net, prefix="", manifest=None):
    """The same as one dictionary."""
    return dict(each(net, prefix, manifest))


def checkpoint(net):
    """The outer dictionary of a training checkpoint, without optimiser state."""
    return {"epoch": 0, "global_step": EMA_UPDATES, "pytorch-lightning_version": "1.2.5", "state_dict": build(net)}


def first_stage_checkpoint(net):
    """The layout of the published first-stage file: the same tensors without their prefix."""
    p = "first_stage_model."
    return {"state_dict": {k[len(p) :]: v for k, v in build(net, prefix=p).items()}}


# ---------------------------------------------------------------------- inputs
def audio_window(tag, batch):
    """Eight neighbouring windows of 16 x 29 speech logits, in the range such logits have."""
    return smooth(tag, (batch, 8, 16, 29), 6, -13.0, 2.0, grain=3.0)


def face68(tag, cx, cy, unit):
    """68 points laid out like the usual face annotation; integers, so text round-trips exactly."""
    pts = []
    for i in range(17):  # 0-16 jaw, ear to ear
        a = (i - 8) / 8.0
        pts.append((cx + a * 1.0 * unit, cy + 1.0 * unit * (1.0 - a * a) - 0.05 * unit))
    for i in range(5):  # 17-21 brow
        pts.append((cx - 0.8 * unit + 0.15 * unit * i, cy - 0.55 * unit - 0.02 * unit * i))
    for i in range(5):  # 22-26 brow
        pts.append((cx + 0.2 * unit + 0.15 * unit * i, cy - 0.63 * unit + 0.02 * unit * i))
    for i in range(4):  # 27-30 nose bridge
        pts.append((cx, cy - 0.4 * unit + 0.15 * unit * i))
    for i in range(5):  # 31-35 nose base
        pts.append((cx - 0.2 * unit + 0.1 * unit * i, cy + 0.15 * unit + 0.03 * unit * (i == 2)))
    for side in (-1, 1):  # 36-47 eyes
        for dx, dy in ((-0.2, 0), (-0.1, -0.07), (0.1, -0.07), (0.2, 0), (0.1, 0.07), (-0.1, 0.07)):
            pts.append((cx + side * 0.5 * unit + dx * unit, cy - 0.35 * unit + dy * unit))
    for i in range(20):  # 48-67 mouth, order of no importance here
        pts.append((cx - 0.35 * unit + 0.035 * unit * i, cy + 0.45 * unit + 0.05 * unit * (i % 3)))
    pts = np.array(pts, np.float64) + ranged(tag, (68, 2), -3.0, 3.0)
    return np.rint(pts)


def landmarks39(tag, batch, size=256):
    full = np.stack([face68(f"{tag}/{i}", size * 0.5, size * 0.42, size * 0.3) for i in range(batch)])
    return np.concatenate([full[:, 0:4], full[:, 13:48]], axis=1).astype(np.float32)


# ------------------------------------------------------------- synthetic tree
# (identity, frame) -> (width, height, mode); identities and frames count from 1.
TREE_COUNTS = {1: 200, 2: 150}
TREE_FRAMES = {
    (1, 1): (512, 512, "RGB"),
    (1, 2): (512, 512, "RGB"),
    (1, 150): (512, 512, "RGB"),
    (2, 1): (450, 450, "RGB"),
    (2, 100): (450, 450, "L"),
}
TREE_TRAIN = ["1_1", "1_2", "1_150"]
TREE_TEST = ["2_1", "2_100"]


def tree_image(key):
    w, h, mode = TREE_FRAMES[key]
    planes = smooth(f"tree/image/{key[0]}_{key[1]}", (1 if mode == "L" else 3, h, w), 9, 0.0, 255.0, grain=2.0)
    planes = np.clip(np.rint(planes), 0, 255).astype(np.uint8)
    return planes[0] if mode == "L" else np.ascontiguousarray(planes.transpose(1, 2, 0))


def tree_landmarks(key):
    w, h, _ = TREE_FRAMES[key]
    return face68(f"tree/landmarks/{key[0]}_{key[1]}", w * 0.5, h * 0.42, w * 0.3)


def tree_audio(key):
    return audio_window(f"tree/audio/{key[0]}_{key[1]}", 1)[0].astype(np.float64)


def write_tree(root):
    """root/data_train.txt, root/data_test.txt and root/HDTF/{data.txt,images,landmarks,audio_smooth}.

    The images are PNG data under a .jpg name, so that no codec rounding gets between
    the goldens and a reader (readers that look at the content do not mind)."""
    from PIL import Image

    base = os.path.join(root, "HDTF")
    for d in ("images", "landmarks", "audio_smooth"):
        os.makedirs(os.path.join(base, d), exist_ok=True)
    for key in TREE_FRAMES:
        stem = f"{key[0]}_{key[1]}"
        Image.fromarray(tree_image(key)).save(os.path.join(base, "images", stem + ".jpg"), format="PNG")
        np.savetxt(os.path.join(base, "landmarks", stem + ".lms"), tree_landmarks(key), "%f")
        np.save(os.path.join(base, "audio_smooth", stem + ".npy"), tree_audio(key))
    with open(os.path.join(base, "data.txt"), "w", encoding="utf-8") as f:
        f.writelines(f"{i} {n}\n" for i, n in sorted(TREE_COUNTS.items()))
    for name, stems in (("data_train.txt", TREE_TRAIN), ("data_test.txt", TREE_TEST)):
        with open(os.path.join(root, name), "w", encoding="utf-8") as f:
            f.writelines(s + "\n" for s in stems)


# -------------------------------------------------------------- sums and check
def sums(net, prefix=""):
    return {k: crc(v) for k, v in each(net, prefix)}


def digest(table):
    """One number for a {name: crc} table, order included."""
    return zlib.crc32("".join(f"{k}={v};" for k, v in table.items()).encode("utf-8"))


def all_sums(full):
    out = {"difftalk_tiny": digest(sums("difftalk_tiny"))}
    parts = ["cond_stage_model_for_", "first_stage_model."]
    parts += ["model.diffusion_model.", "model_ema."] if full else []
    for p in parts:
        out["difftalk/" + p] = digest(sums("difftalk", p))
    for key in TREE_FRAMES:
        stem = f"{key[0]}_{key[1]}"
        out["tree/image/" + stem] = crc(tree_image(key))
        out["tree/landmarks/" + stem] = crc(tree_landmarks(key))
        out["tree/audio/" + stem] = crc(tree_audio(key))
    return out


def main(argv):
    table = all_sums("--full" in argv)
    if "--print" in argv:
        print(json.dumps(table, indent=1))
        return 0
    with open(os.path.join(HERE, "difftalk_crc.json"), encoding="utf-8") as f:
        known = json.load(f)
    wrong = [k for k, v in table.items() if known.get(k) != v]
    print(f"{len(table)} sums, {len(wrong)} differ", *wrong[:8])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
