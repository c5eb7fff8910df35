"""Says in one line how a file's tensors differ from what a network needs, and probably why."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

MARKS = {  # a tensor that only this network has
    "appearance_extractor": "resblocks_3d.3dr0.conv1.weight",
    "motion_extractor": "detector.fc_exp.weight",
    "warp_network": "dense_motion_network.mask.weight",
    "decoder": "G_middle_0.conv_0.weight_orig",
    "stitch_network": "mlp.0.weight",
    "lmdm": "null_cond_embed",
}
_SHOWN = 3


def recognise(names: Collection[str]) -> str | None:
    """The official network that a state dict with these names belongs to, if it is one."""
    return next((net for net, mark in MARKS.items() if mark in names), None)


def mismatch(net_name: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """None when names and shapes agree, else the sentence for the user."""
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    shapes = [
        f"{name} should be {list(wanted[name].shape)}, is {list(found[name].shape)}"
        for name in wanted
        if name in found and wanted[name].shape != found[name].shape
    ]
    parts = [
        _listing(f"of {len(wanted)} tensors missing", missing, ", "),
        _listing(f"of {len(found)} unexpected", unexpected, ", "),
        _listing("of another shape", shapes, "; "),
    ]
    differences = ", ".join(part for part in parts if part)
    if not differences:
        return None
    why = _why(net_name, len(wanted), missing, unexpected, found)
    return f"these are not the weights of {net_name}: {differences}; {why}"


def _listing(what: str, entries: list[str], joint: str) -> str:
    """'2 of 107 tensors missing (a, b)', or nothing."""
    if not entries:
        return ""
    more = f"{joint}..." if len(entries) > _SHOWN else ""
    return f"{len(entries)} {what} ({joint.join(entries[:_SHOWN])}{more})"


def _why(net_name: str, wanted: int, missing: list[str], unexpected: list[str], found: Mapping[str, Tensor]) -> str:
    other = recognise(found)
    if other and other != net_name:
        return f"it is the file of {other}"
    if not missing and not unexpected:
        return f"it is {net_name} with other sizes"
    if len(missing) == wanted:
        return "it is a file of something else"
    if not unexpected:
        return "the file is incomplete"
    return "it is another version of the network" if missing else "the file has more than the network"
