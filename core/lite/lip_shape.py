"""From predicted lips and heard events to lips that close when they must (spec lite.md sections 3 and 5)."""

from __future__ import annotations

import numpy as np

from core.lite.emotions import SURPRISE, SURPRISE_OPENING, emotion_offsets, emotion_weights
from core.lite.motion_space import CHIN, LIP_SLOTS, LOWER_LIP, UPPER_LIP

MAX_OPENING = 0.28  # largest gap between the lips in canonical units, about half a mouth width
CLOSURE_RANGE = (0.12, 0.5)  # probabilities between which a closure goes from none to sealed
CLOSURE_CHIN = 0.5  # part of its usual way that the chin goes along with a closure; the lips do the rest
LIP_TEETH_SHARE = 0.7  # part of the gap that an f or v takes away
SPEECH_RANGE = (0.25, 0.6)
QUIET_RANGE = (-6.5, -5.0)  # log energy of a frame between which the mouth comes alive
GATE_REACH = 2  # frames by which the mouth may move before and after the sound
GATE_SIGMA = 1.2


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def speech_gate(speech: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """(n,) in 0..1: how far the mouth follows the model; exactly 0 in silence and noise.

    Args:
        speech: (n,) probability of speech.
        energy: (n,) log energy of the frame.
    """
    gate = smoothstep(speech, *SPEECH_RANGE) * smoothstep(energy, *QUIET_RANGE)
    reach = np.pad(gate, GATE_REACH, mode="edge")
    gate = np.max([reach[i : i + len(gate)] for i in range(2 * GATE_REACH + 1)], axis=0)
    return smooth_frames(gate[:, None], GATE_SIGMA)[:, 0]


def smooth_frames(x: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of `sigma` frames, cut at three of them, over the rows of (n, k); the ends are repeated."""
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(x, ((reach, reach), (0, 0)), mode="edge")
    return sum(weight * padded[i : i + len(x)] for i, weight in enumerate(kernel / kernel.sum()))


def shape_lips(
    exp: np.ndarray, closed: np.ndarray, lip_teeth: np.ndarray, gate: np.ndarray, emotion: np.ndarray, mode: np.ndarray
) -> np.ndarray:
    """Lips as they are to be shown: gated, bounded, sealed where a closure is heard.

    Args:
        exp: (n, 21, 3) absolute canonical expression from the model (0 = lips closed).
        closed, lip_teeth: (n,) probability of b p m, and of f v.
        gate: (n,) from `speech_gate`.
        emotion: (n, 8) weights.
        mode: (21, 3) displacement per mouth width of opening.

    Returns:
        (n, 21, 3) float32; outside the lip slots only what the emotion does to brows and lids.
    """
    mode = mode / (mode[LOWER_LIP, 1] - mode[UPPER_LIP, 1])
    weight = emotion_weights(emotion)
    lips, elsewhere = emotion_offsets(weight)
    out = exp * gate[:, None, None]
    gap = out[:, LOWER_LIP, 1] - out[:, UPPER_LIP, 1]
    agape = SURPRISE_OPENING * weight[:, SURPRISE]
    wanted = np.maximum(gap, 0) + agape
    wanted = MAX_OPENING * np.tanh(wanted / MAX_OPENING)
    kept = 1 - LIP_TEETH_SHARE * gate * smoothstep(lip_teeth, *CLOSURE_RANGE)
    kept *= 1 - smoothstep(closed, *CLOSURE_RANGE)
    shown = kept * wanted + (1 - gate) * (1 - kept) * agape  # silence closes no mouth that is open in surprise
    out = out + (shown - gap)[:, None, None] * mode
    out[:, CHIN] += (1 - CLOSURE_CHIN) * ((1 - kept) * wanted)[:, None] * mode[CHIN]
    out += lips
    keep = np.zeros((out.shape[1], 1))
    keep[list(LIP_SLOTS)] = 1
    return (out * keep + elsewhere).astype(np.float32)
