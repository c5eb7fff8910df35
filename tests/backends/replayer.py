"""In place of CUDA graphs: replays by calling again."""

from __future__ import annotations


class Replayer:
    """Like a CUDA graph: works on the tensors of the recording and writes into its one output."""

    def __init__(self):
        self.recorded = 0

    def record(self, function, inputs):
        self.recorded += 1
        output = function(*inputs).clone()
        return lambda: output.copy_(function(*inputs)), output
