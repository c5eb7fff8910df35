"""The three trained encoders of what drives the face: speech windows and landmarks (spec difftalk.md section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from DiffTalk.shapes import LOGITS, WINDOWS

KEPT_LANDMARKS = 39  # of 68, without mouth and chin
AUDIO_WIDTH = LANDMARK_WIDTH = 64
CONTEXT_WIDTH = AUDIO_WIDTH + LANDMARK_WIDTH
SLOPE = 0.02  # of the leaky ReLUs
ATTENTION_CHANNELS = 32  # of a window's code, which decide its weight


def _convolutions(widths: tuple[int, ...], stride: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:]):
        layers += [nn.Conv1d(before, after, 3, stride, 1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


class AudioNet(nn.Module):
    """Code of each speech window: AD-NeRF's network (Guo et al., ICCV 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder_conv = _convolutions((LOGITS, 32, 32, 64, 64), stride=2)
        self.encoder_fc1 = nn.Sequential(
            nn.Linear(64, 64),
            nn.LeakyReLU(SLOPE),
            nn.Linear(64, AUDIO_WIDTH),
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Logits (B, 8, 16, 29) -> codes (B, 8, 64)."""
        batch = windows.shape[0]
        code = self.encoder_conv(windows.flatten(0, 1).transpose(1, 2)).squeeze(-1)
        return self.encoder_fc1(code).view(batch, WINDOWS, AUDIO_WIDTH)


class AudioAttNet(nn.Module):
    """Weighs the eight codes against each other, which smooths over time."""

    def __init__(self) -> None:
        super().__init__()
        self.attentionConvNet = _convolutions((ATTENTION_CHANNELS, 16, 8, 4, 2, 1), stride=1)
        self.attentionNet = nn.Sequential(nn.Linear(WINDOWS, WINDOWS), nn.Softmax(dim=1))

    def weights(self, codes: Tensor) -> Tensor:
        """Codes (B, 8, 64) -> weights (B, 1, 8) that add up to 1."""
        scores = self.attentionConvNet(codes[..., :ATTENTION_CHANNELS].transpose(1, 2))
        return self.attentionNet(scores.squeeze(1))[:, None]

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, 8, 64) -> the weighted mean (B, 64)."""
        return (self.weights(codes) @ codes).squeeze(1)


class LandmarkNet(nn.Module):
    """Code of the 39 landmarks that leave out mouth and chin."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder_fc1 = nn.Sequential(
            nn.Linear(2 * KEPT_LANDMARKS, 128),
            nn.LeakyReLU(SLOPE),
            nn.Linear(128, 64),
            nn.LeakyReLU(SLOPE),
            nn.Linear(64, LANDMARK_WIDTH),
        )

    def forward(self, landmarks: Tensor) -> Tensor:
        """Points (B, 39, 2) in pixels of the 256 frame -> code (B, 64)."""
        return self.encoder_fc1(landmarks.flatten(1))


class ConditionEncoders(nn.Module):
    """The three together, under the checkpoint's names."""

    def __init__(self) -> None:
        super().__init__()
        self.cond_stage_model_for_audio = AudioNet()
        self.cond_stage_model_for_audio_smooth = AudioAttNet()
        self.cond_stage_model_for_ldm = LandmarkNet()

    def forward(self, audio: Tensor, landmarks: Tensor) -> Tensor:
        """Windows (B, 8, 16, 29) and points (B, 39, 2) -> the U-Net's one context token (B, 1, 128)."""
        heard = self.cond_stage_model_for_audio_smooth(self.cond_stage_model_for_audio(audio))
        return torch.cat([heard, self.cond_stage_model_for_ldm(landmarks)], dim=1)[:, None]
