"""DiffTalk (CVPR 2023): a talking head by latent diffusion, on diffusers. docs/difftalk.md is the manual.

Needs the extra `difftalk`. Nothing is imported until something is asked for.
"""

from __future__ import annotations

from typing import Any


def get_difftalk_inference(*args: Any, **kwargs: Any) -> Any:
    """The loaded pipeline; see `DiffTalk.pipeline.get_difftalk_inference`."""
    from DiffTalk.pipeline import get_difftalk_inference as build

    return build(*args, **kwargs)
