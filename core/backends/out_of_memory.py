"""What happens when the memory of a GPU does not suffice: smaller batches first, then one clear sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from core.errors import InputError

LOG = logging.getLogger(__name__)
OutOfMemory = torch.cuda.OutOfMemoryError  # what PyTorch raises on every kind of device, under the name of its oldest

Item = TypeVar("Item")


def chunks(count: int, limit: int) -> list[int]:
    """Sizes of batches for `count` items: as many of `limit` as there are, then falling powers of two.

    Few different sizes occur, which compiled and recorded networks need.
    """
    sizes = [limit] * (count // limit)
    rest = count % limit
    return sizes + [1 << bit for bit in reversed(range(rest.bit_length())) if rest >> bit & 1]


@contextmanager
def out_of_memory(what: str) -> Iterator[None]:
    """Turns a lack of GPU memory within the block into an InputError that names `what`."""
    try:
        yield
    except OutOfMemory as error:
        raise InputError(
            f"not enough GPU memory for {what}{_free()}; close other programs that use the GPU, or take --device cpu"
        ) from error


class BatchLimit:
    """Cuts work into batches, and into smaller ones from then on when memory runs out. For one thread."""

    def __init__(self, size: int, what: str):
        """size: most items at once. what: the work, for messages."""
        self.size, self._what = size, what

    def run(self, function: Callable[[Sequence[Item]], Any], items: Sequence[Item]) -> list[Any]:
        """Results of `function` for consecutive batches of `items`.

        Raises InputError when a single item is too large for the GPU.
        """
        results, done = [], 0
        while done < len(items):
            count = chunks(len(items) - done, self.size)[0]
            try:
                with out_of_memory(f"{self._what} of one frame"):
                    results.append(function(items[done : done + count]))
            except InputError as error:
                if not isinstance(error.__cause__, OutOfMemory) or count == 1:
                    raise
                self._shrink(count)
            else:
                done += count
        return results

    def _shrink(self, failed: int) -> None:
        """Halve the limit after a batch of `failed`."""
        self.size = max(1, failed // 2)
        LOG.warning("no GPU memory for %s of %d frames at once; going on with %d", self._what, failed, self.size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _free() -> str:
    """` (1.2 of 24.0 GB free)`, or nothing without a GPU."""
    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info()
    return f" ({free / 1e9:.1f} of {total / 1e9:.1f} GB free)"
