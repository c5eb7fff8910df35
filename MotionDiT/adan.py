"""The Adan optimiser (Xie et al., 2208.06677) as the reference configures it (spec training.md 10.1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

CPU_CHUNK = 1 << 15  # elements handled together on the CPU: the seven arrays of a chunk stay in its cache
MOMENTS = ("prev_grad", "m", "v", "n")


@dataclass(frozen=True)
class Rates:
    """What one update needs besides the tensors. `k` is the number of earlier updates of the parameters."""

    lr: float
    betas: tuple[float, float, float]
    eps: float
    decay: float
    k: int


class Adan(Optimizer):
    """Adan with betas as weights of the new value. The very first step only applies weight decay, as the reference's.

    Nothing here waits for the GPU: step counts are Python numbers.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-4,
        betas: tuple[float, float, float] = (0.02, 0.08, 0.01),
        eps: float = 1e-8,
        weight_decay: float = 0.02,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            ages: dict[tuple[int, torch.device], list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    ages[self._state(p)["step"], p.device].append(p)
            for (k, device), params in ages.items():
                rates = Rates(group["lr"], tuple(group["betas"]), group["eps"], group["weight_decay"], k)
                self._update(params, rates, device)
        return loss

    def _state(self, p: Tensor) -> dict:
        state = self.state[p]
        if not state:
            state["step"] = 0
            for name in MOMENTS:
                state[name] = torch.zeros_like(p, memory_format=torch.contiguous_format)
        return state

    def _update(self, params: list[Tensor], rates: Rates, device: torch.device) -> None:
        rows = [(p, p.grad, *(self.state[p][name] for name in MOMENTS)) for p in params]
        if device.type == "cpu":
            for row in rows:
                flat = [tensor.view(-1) for tensor in row]
                for chunk in zip(*(tensor.split(CPU_CHUNK) for tensor in flat)):
                    update(*([part] for part in chunk), rates)
        else:
            update(*map(list, zip(*rows)), rates)
        for p in params:
            self.state[p]["step"] += 1


def update(
    params: list[Tensor],
    grads: list[Tensor],
    previous: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    n: list[Tensor],
    rates: Rates,
) -> None:
    """One step on lists of tensors of equal shapes, all in place; `previous` becomes a copy of `grads`."""
    b1, b2, b3 = rates.betas
    if rates.k:
        change = torch._foreach_sub(grads, previous)
        torch._foreach_lerp_(m, grads, b1)
        torch._foreach_lerp_(v, change, b2)
        torch._foreach_mul_(change, 1 - b2)
        torch._foreach_add_(change, grads)
        torch._foreach_mul_(n, 1 - b3)
        torch._foreach_addcmul_(n, change, change, b3)
    c1, c2, c3 = (1 / (1 - (1 - beta) ** (rates.k + 1)) for beta in rates.betas)
    if rates.k:  # before, all moments are zero and nothing would move
        spread = torch._foreach_sqrt(n)
        torch._foreach_mul_(spread, c3**0.5)
        torch._foreach_add_(spread, rates.eps)
        direction = torch._foreach_mul(m, c1)
        torch._foreach_add_(direction, v, alpha=(1 - b2) * c2)
        torch._foreach_addcdiv_(params, direction, spread, -rates.lr)
    torch._foreach_mul_(params, 1 / (1 + rates.decay * rates.lr))
    torch._foreach_copy_(previous, grads)
