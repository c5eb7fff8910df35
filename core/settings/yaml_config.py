"""Configurations as YAML, with what YAML lacks: numpy arrays and scalars, kept in an .npz beside it, and tuples.

`!array NAME` and `!scalar NAME` stand for entries of FILE.npz when the text is FILE.yaml; `!tuple [..]` is a tuple.
Everything else is plain YAML, read by the safe loader. What is written reads back equal in value, type and dtype.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from core.errors import OutputError, PackError, one_line
from core.utils.whole_file import whole_file

PLAIN = (type(None), bool, int, float, str, bytes)


def read_yaml(path: Path) -> Any:
    """Content of a YAML file and of the .npz beside it, if it refers to one. Raises PackError."""
    arrays = _Arrays(path)
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        loader.arrays = arrays
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise PackError(f"{path}: not a readable YAML file ({one_line(error)})") from None
    except OSError as error:
        raise PackError(f"{path}: cannot read the configuration ({error.strerror})") from None


def write_yaml(path: Path, content: Mapping[str, Any]) -> list[Path]:
    """Write plain data as YAML and, if there are any, its arrays as .npz beside it; returns the files.

    Each file appears when it is complete, and replaces an older one. Raises OutputError when data has a type that the
    form cannot hold or a file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _to_tree(content, (), arrays)
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=120, default_flow_style=None)
    beside = path.with_suffix(".npz")
    try:
        if arrays:
            with whole_file(beside) as part:
                np.savez_compressed(part, **arrays)
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
    except (OSError, UnicodeEncodeError) as error:
        raise OutputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    return [path, beside] if arrays else [path]


class _Arrays:
    """The .npz of a YAML file, opened when it is first asked for."""

    def __init__(self, path: Path):
        self._path, self._content = path.with_suffix(".npz"), None

    def __getitem__(self, name: str) -> np.ndarray:
        if self._content is None:
            try:
                with np.load(self._path, allow_pickle=False) as file:
                    self._content = dict(file)
            except FileNotFoundError:
                raise PackError(f"{self._path} is missing; it holds the arrays of the .yaml beside it") from None
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                raise PackError(f"{self._path}: not a readable .npz file ({error})") from None
        if name not in self._content:
            raise PackError(f"{self._path}: there is no array '{name}', which the .yaml beside it names")
        return self._content[name]


class _Loader(yaml.SafeLoader):
    arrays: _Arrays


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Reference(str):
    """Name of an array in the .npz."""


class _ScalarReference(str):
    """Name of a numpy scalar in the .npz."""


def _array(loader: _Loader, node: yaml.Node) -> np.ndarray:
    return loader.arrays[loader.construct_scalar(node)]


def _scalar(loader: _Loader, node: yaml.Node) -> np.generic:
    return _array(loader, node)[()]


_Loader.add_constructor("!array", _array)
_Loader.add_constructor("!scalar", _scalar)
_Loader.add_constructor("!tuple", lambda loader, node: tuple(loader.construct_sequence(node, deep=True)))
_Dumper.add_representer(_Reference, lambda dumper, name: dumper.represent_scalar("!array", str(name)))
_Dumper.add_representer(_ScalarReference, lambda dumper, name: dumper.represent_scalar("!scalar", str(name)))
_Dumper.add_representer(tuple, lambda dumper, items: dumper.represent_sequence("!tuple", items, flow_style=True))


def _to_tree(value: Any, place: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    """The data with references for arrays, which are added to `arrays`."""
    if isinstance(value, (np.ndarray, np.generic)):
        kind = _Reference if isinstance(value, np.ndarray) else _ScalarReference
        return kind(_keep(np.asarray(value), place, arrays))
    if isinstance(value, dict):
        return {_key(key, place): _to_tree(item, (*place, str(key)), arrays) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_to_tree(item, (*place, str(i)), arrays) for i, item in enumerate(value))
    if type(value) in PLAIN:
        return value
    raise OutputError(f"{'.'.join(place)} is a {type(value).__name__}, which a YAML configuration cannot hold")


def _key(key: Any, place: tuple[str, ...]) -> Any:
    if type(key) in (str, int, bool, float, type(None)):
        return key
    raise OutputError(f"a key of {'.'.join(place)} is a {type(key).__name__}, which a YAML configuration cannot hold")


def _keep(array: np.ndarray, place: tuple[str, ...], arrays: dict[str, np.ndarray]) -> str:
    """Put an array into `arrays` under a new name made of its place; returns the name."""
    base = name = re.sub(r"[^A-Za-z0-9_.]", "_", ".".join(place)) or "array"
    number = 1
    while name in arrays:
        number += 1
        name = f"{base}_{number}"
    arrays[name] = array
    return name
