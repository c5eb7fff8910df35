"""What the documentation and the docstrings name is there: modules, files, headings and flags."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "live", "MotionDiT", "prepare_data", "DiffTalk", "scripts")
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "prepare_data" / "README.md"]
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))] + sorted(ROOT.glob("*.py"))
DOTTED = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)")
FILE = re.compile(rf"(?<![\w./-])((?:{'|'.join(PACKAGES)}|tests|docs)/[\w./-]*\w\.(?:py|sh|md))\b")
LINK = re.compile(r"\]\(([^)#:\s]*)(#[^)\s]*)?\)")
FLAG = re.compile(r"(?<![\w-])--([a-z][\w-]*\w)")
# flags of pip, accelerate, torchrun and tensorboard that appear in commands
FOREIGN = {"no-deps", "cpu", "num_processes", "multi_gpu", "nproc_per_node", "gpus"}


def identity(path: Path) -> str:
    """Name of a test case."""
    return str(path.relative_to(ROOT))


def is_there(dotted: str) -> bool:
    """Whether a module, or a name in one, exists; attributes of a class are not looked up."""
    path, names = ROOT, dotted.split(".")
    while names and (path / names[0]).is_dir():
        path = path / names.pop(0)
    if names and (path / names[0]).with_suffix(".py").is_file():
        path = (path / names.pop(0)).with_suffix(".py")
    if not names or names[0] in ("py", "sh"):  # the name of a file
        return True
    module = path / "__init__.py" if path.is_dir() else path
    return module.is_file() and re.search(rf"\b{names[0]}\b", module.read_text(encoding="utf-8")) is not None


def anchors(path: Path) -> set[str]:
    """Fragments of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def known_flags() -> set[str]:
    """Flags written out in a program, and fields of option classes, which some programs turn into flags."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*SOURCES, *(ROOT / "scripts").glob("*.sh")])
    fields = set(re.findall(r'^    ([a-z]\w+): [\w\[\]., |"]+(?: = .*)?$', text, re.MULTILINE))
    return set(FLAG.findall(text)) | fields | {f"no-{name}" for name in fields}


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=identity)
def test_modules_and_files_that_are_named_exist(path):
    text = path.read_text(encoding="utf-8")
    missing = [name for name in DOTTED.findall(text) if not is_there(name)]
    missing += [name for name in FILE.findall(text) if not (ROOT / name).is_file()]
    assert not missing


@pytest.mark.parametrize("path", PAGES, ids=identity)
def test_links_lead_somewhere(path):
    for target, fragment in LINK.findall(path.read_text(encoding="utf-8")):
        page = path.parent / target if target else path
        assert page.exists(), target
        assert not fragment or fragment in anchors(page), f"{target}{fragment}"


@pytest.mark.parametrize("path", [page for page in PAGES if page.name != "questions.md"], ids=identity)
def test_flags_exist(path):
    found = set(FLAG.findall(path.read_text(encoding="utf-8")))
    assert not found - known_flags() - FOREIGN


def test_a_name_that_is_gone_is_noticed():
    assert is_there("core.sdk.StreamSDK") and is_there("core.media.read_audio") and is_there("core.streaming")
    assert not is_there("core.settings.config.RunOptions") and not is_there("core.nowhere")
    assert "blink_rate" in known_flags() and "blink_rat" not in known_flags()
