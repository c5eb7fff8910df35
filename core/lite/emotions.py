"""What each emotion does to the embedded pack's keypoints, besides speech: lips, brows and lids."""

from __future__ import annotations

import numpy as np

from core.lite.motion_space import LIP_SLOTS, NUM_KEYPOINTS

NUM_EMOTIONS = 8
FLOOR = 0.01  # a label's weight in a row that names another one
MOST = 2.0  # greatest weight

# label: slot -> x, y in canonical units; spec pipeline.md 8.2 has the order. Neutral is zero. Slots: 1, 2 brows; 11, 15
# upper and 13, 16 lower lids; 19, 20 corners, 3, 14, 4 upper and 9, 17, 10 lower edge of the mouth.
EMOTIONS = {
    0: {  # angry: brows down and together, lids tense, lips pressed
        **{1: (0.035, 0.06), 2: (-0.035, 0.06), 11: (0, 0.01), 15: (0, 0.01), 13: (0, -0.012), 16: (0, -0.012)},
        **{19: (0.024, 0.022), 20: (-0.024, 0.022), 14: (0, 0.012), 17: (0, -0.014)},
    },
    1: {  # disgust: upper lip raised, eyes narrow
        **{1: (0.012, 0.035), 2: (-0.012, 0.035), 11: (0, 0.008), 15: (0, 0.008), 13: (0, -0.018), 16: (0, -0.018)},
        **{3: (0, -0.034), 4: (0, -0.034), 14: (0, -0.03), 19: (-0.008, 0.018), 20: (0.008, 0.018)},
    },
    2: {  # fear: brows up and together, eyes wide, mouth drawn aside
        **{1: (0.025, -0.05), 2: (-0.025, -0.05), 11: (0, -0.022), 15: (0, -0.022)},
        **{19: (-0.03, 0.022), 20: (0.03, 0.022), 9: (-0.016, 0.014), 10: (0.016, 0.014)},
    },
    3: {  # happy: corners out and up, lower lids raised
        **{1: (0, -0.012), 2: (0, -0.012), 13: (0, -0.014), 16: (0, -0.014)},
        **{19: (-0.05, -0.062), 20: (0.05, -0.062), 3: (-0.02, -0.018), 4: (0.02, -0.018)},
        **{9: (-0.02, -0.022), 10: (0.02, -0.022)},
    },
    5: {  # sad: corners down, brows up and together, upper lids heavy
        **{1: (0.03, -0.03), 2: (-0.03, -0.03), 11: (0, 0.014), 15: (0, 0.014)},
        **{19: (0.01, 0.056), 20: (-0.01, 0.056), 9: (0, 0.016), 10: (0, 0.016), 17: (0, -0.014), 3: (0, 0.008)},
        4: (0, 0.008),
    },
    6: {1: (0, -0.075), 2: (0, -0.075), 11: (0, -0.024), 15: (0, -0.024)},  # surprise, with the mouth open
    7: {2: (0, -0.045), 20: (0.02, -0.042), 4: (0.006, -0.014), 10: (0.006, -0.014)},  # contempt: one side
}
SURPRISE, SURPRISE_OPENING = 6, 0.055


def emotion_weights(rows: np.ndarray) -> np.ndarray:
    """(n, 8) condition columns -> how strongly each label shows, 0 .. MOST."""
    return np.clip(rows - FLOOR, 0, MOST)


def emotion_offsets(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8) weights -> offsets (n, 21, 3) of the lips, and those of brows and lids."""
    offsets = np.einsum("ne,ekc->nkc", weights, _basis())
    lips = np.zeros((NUM_KEYPOINTS, 1))
    lips[list(LIP_SLOTS)] = 1
    return offsets * lips, offsets * (1 - lips)


def _basis() -> np.ndarray:
    """(8, 21, 3) canonical offsets of each label."""
    basis = np.zeros((NUM_EMOTIONS, NUM_KEYPOINTS, 3))
    for label, slots in EMOTIONS.items():
        for slot, offset in slots.items():
            basis[label, slot, :2] = offset
    return basis
