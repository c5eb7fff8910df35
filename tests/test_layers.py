"""Imports between the packages of core go one way: from what users call down to what knows nothing of the rest."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A module may import what stands in a row above its own. Within a row only a package itself.
LAYERS = (
    ("errors", "motion", "utils.whole_file", "utils.blas"),
    ("channel", "onnx_graph", "media", "models"),  # models: networks alone
    ("pipeline", "settings"),
    ("utils", "interfaces"),
    ("avatars", "backends"),
    ("atomic_components", "aux_models", "lite"),  # stages do not know models, models do not know stages
    ("packs", "runs"),  # a pack is what stages call, a run is stages
    ("streaming", "cli"),
    ("sdk",),
    ("jobs",),
)
# what those above must not look into, although it lies below them: packs alone know what serves a model
HIDDEN = ("backends", "models", "onnx_graph")
BLIND = ("avatars", "atomic_components", "runs", "streaming", "cli", "sdk", "jobs")
EXCEPTIONS = {
    # sampling loops over any kind of array, which live with the network that was trained for them
    ("atomic_components.motion_diffusion", "models.sampler"),
}
PROGRAMS = ("live", "scripts", "MotionDiT", "DiffTalk", "prepare_data", "inference", "app", "tests")


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: write imports in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name if _is_module(name) else node.module for name in names]


@cache
def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def place(module: str) -> tuple[int, str]:
    """Row and entry of LAYERS for a module below core."""
    entries = [(row, entry) for row, layer in enumerate(LAYERS) for entry in layer]
    found = [(row, entry) for row, entry in entries if module == entry or module.startswith(f"{entry}.")]
    assert found, f"core.{module} has no place in LAYERS"
    return max(found, key=lambda pair: len(pair[1]))


def test_imports_within_core_go_downwards():
    wrong = []
    for path in sorted((ROOT / "core").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "core").with_suffix("").parts).removesuffix(".__init__")
        for name in imports(path) if module != "__init__" else ():
            target = name.removeprefix("core.")
            if name == target or (module, target) in EXCEPTIONS:
                continue
            (row, entry), (below, other) = place(module), place(target)
            hidden = entry in BLIND and other in HIDDEN
            if hidden or not (below < row or entry == other or other.startswith(f"{entry}.")):
                wrong.append(f"core.{module} imports core.{target}")
    assert not wrong, "\n".join(wrong)


def test_core_does_not_know_the_programs():
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "core").rglob("*.py"))
        for name in imports(path)
        if name.partition(".")[0] in PROGRAMS
    }
    assert not found


def test_every_entry_exists():
    for entry in (entry for layer in LAYERS for entry in layer):
        assert _is_module(f"core.{entry}"), entry
