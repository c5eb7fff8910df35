"""Controls as the command line and jobs files name them -> options: files are read, lists taken apart."""

from __future__ import annotations

from typing import Any

from core.errors import InputError
from core.settings.controls import CONTROLS, check_controls
from core.settings.more_kwargs import options_from
from core.settings.timeline import read_timeline


def resolve_controls(options: dict[str, Any]) -> dict[str, Any]:
    """Options as flags or a row of a jobs file give them -> those of `StreamSDK.run`; the timeline file is read.

    Raises InputError for a file that cannot be used, and for two that both control frames.
    """
    out = dict(options)
    if isinstance(out.get("fade_out_keys"), str):
        out["fade_out_keys"] = [key.strip() for key in out["fade_out_keys"].split(",") if key.strip()]
    more = options_from(out.pop("more_kwargs", None))
    if "ctrl" in out:
        if "ctrl_info" in more or "ctrl_info" in out:
            raise InputError("--ctrl and the ctrl_info of --more_kwargs both control frames; give one of them")
        path = out.pop("ctrl")
        out["ctrl_info"] = read_timeline(path, CONTROLS)
        for name, curve in out["ctrl_info"].curves.items():
            for value in curve.values:
                check_controls({name: value}, str(path))
    return {**more, **out}
