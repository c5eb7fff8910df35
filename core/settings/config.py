"""The configuration file of a pack (spec pipeline.md section 2)."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from core.errors import PackError
from core.settings.names import unknown_name
from core.settings.options import PackConfig
from core.settings.run_options import option_problems
from core.settings.safe_pickle import load_plain_pickle
from core.settings.yaml_config import read_yaml


def load_config(path: str | Path) -> PackConfig:
    """Reads a `.pkl` of plain data or a `.yaml` with the same keys.

    Raises PackError with the file's name and everything in it that is unknown or of the wrong kind.
    """
    config, problems = read_config(path)
    problems += option_problems(config)
    if problems:
        raise PackError(f"{path}: {'; '.join(problems)}")
    return config


def read_config(path: str | Path) -> tuple[PackConfig, list[str]]:
    """The usable sections of a configuration file, and what is wrong with the others.

    Raises PackError when the file is missing or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise PackError(f"{path}: no such configuration file")
    content = read_yaml(path) if path.suffix.lower() in (".yaml", ".yml") else load_plain_pickle(path)
    if not isinstance(content, dict):
        raise PackError(f"{path}: a configuration is a dictionary, this is a {type(content).__name__}")
    known = [section.name for section in fields(PackConfig)]
    sections, problems = {}, []
    for name, section in content.items():
        if name not in known:
            problems.append(unknown_name("section", name, known))
        elif not isinstance(section, dict):
            problems.append(f"section '{name}' is a {type(section).__name__}, not a dictionary")
        else:
            sections[name] = section
    for name, entry in list(sections.get("base_cfg", {}).items()):
        if not isinstance(entry, dict):
            problems.append(f"entry '{name}' of base_cfg is a {type(entry).__name__}, not a dictionary")
            sections["base_cfg"] = {key: value for key, value in sections["base_cfg"].items() if key != name}
    return PackConfig(**sections), problems
