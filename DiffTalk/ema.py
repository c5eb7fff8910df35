"""Running average of weights with the reference's warm-up (spec difftalk.md section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averages of the tensors of `module`; `updates` counts, `decay` is the limit that the warm-up approaches."""

    def __init__(self, module: nn.Module, decay: float = 0.9999, updates: int = 0):
        self.decay, self.updates = decay, updates
        self._module = module
        self.shadow = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the module: d = min(decay, (1 + n) / (10 + n)), n counting from 1."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        live = dict(self._module.named_parameters())
        torch._foreach_lerp_(list(self.shadow.values()), [live[name].detach() for name in self.shadow], weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module works with the averages inside this block."""
        live = {name: value.detach().clone() for name, value in self._module.named_parameters()}
        self._copy(self.shadow)
        try:
            yield
        finally:
            self._copy(live)

    def load(self, shadow: Mapping[str, Tensor], updates: int) -> None:
        """Take over stored averages."""
        for name, value in self.shadow.items():
            value.copy_(shadow[name])
        self.updates = updates

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._module.named_parameters():
            parameter.copy_(values[name])
