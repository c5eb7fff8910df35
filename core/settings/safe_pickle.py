"""Reads a pickle of plain data without running anything in it. Spec section 2.6.

Containers, numbers, strings and numeric numpy arrays come through; every other global is refused. Arrays never pass
through numpy's own unpickling either: they are put together here from dtype string, shape and bytes.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import PackError

_MAX_BYTES = 1 << 28  # a configuration has kilobytes; anything near this is not one
_KINDS = "biufc"  # dtype kinds that hold nothing but numbers


class _Dtype:
    """Stands for numpy.dtype."""

    def __init__(self, name: str, align: bool = False, copy: bool = True):
        self._name = name
        self._order = "|"

    def __setstate__(self, state: tuple) -> None:
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("structured arrays are not allowed")
        self._order = state[1]

    @property
    def value(self) -> np.dtype:
        if not isinstance(self._name, str) or self._name[:1] not in _KINDS:
            raise pickle.UnpicklingError(f"arrays of dtype {self._name!r} are not allowed")
        dtype = np.dtype(self._name)
        return dtype.newbyteorder(self._order) if self._order in ("<", ">") else dtype


class _Array:
    """Stands for numpy.ndarray."""

    def __init__(self, *ignored: Any):
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, fortran, data = state
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("arrays of objects are not allowed")
        self.value = _build(data, dtype, shape, "F" if fortran else "C")


def _build(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array without a dtype")
    return np.frombuffer(data, dtype.value).reshape(shape, order=order).copy(order=order)


def _reconstruct(*ignored: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: str, *ignored: Any) -> _Array:
    array = _Array()
    array.value = _build(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: bytes) -> Any:
    array = _Array()
    array.value = _build(data, dtype, (), "C")[()]
    return array


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What protocol 2 writes for bytes."""
    return text.encode("latin1")


def _bytes(*data: bytes) -> bytes:
    """Protocol 2 writes b"" as bytes(); a number, which would ask for memory, is not data."""
    if any(not isinstance(part, bytes) for part in data):
        raise pickle.UnpicklingError("bytes from something else")
    return b"".join(data)


def _bytearray(*data: bytes) -> bytearray:
    return bytearray(_bytes(*data))


_NUMPY = {
    ("multiarray", "_reconstruct"): _reconstruct,
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): _frombuffer,
}
_ALLOWED = {
    **{(f"numpy.{core}.{module}", name): made for core in ("core", "_core") for (module, name), made in _NUMPY.items()},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "complex"): complex,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module.replace("__builtin__", "builtins"), name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data does not need")
        return found


def load_plain_pickle(path: str | Path, max_bytes: int = _MAX_BYTES, what: str = "configuration") -> Any:
    """The plain data in a pickle file: dict, list, tuple, set, numbers, strings, bytes, numpy arrays and scalars.

    Args:
        max_bytes: largest file that can be a `what`, which is named in messages.

    Raises PackError for everything else: other classes or functions, object arrays, damaged or missing files.
    """
    path = Path(path)
    try:
        if path.stat().st_size > max_bytes:
            raise PackError(f"{path}: too large to be a {what}")
        with open(path, "rb") as file:
            return _resolve(_Unpickler(file, encoding="latin1").load())
    except OSError as error:
        raise PackError(f"{path}: cannot read the {what} ({error.strerror})") from None
    except PackError:
        raise
    except Exception as error:  # damaged bytes can make the unpickler raise nearly anything
        raise PackError(f"{path}: not a usable {what}: {error or type(error).__name__}") from None


def _resolve(value: Any) -> Any:
    """Replaces the stand-ins by what they stand for, at any depth."""
    if isinstance(value, (_Array, _Dtype)):
        return value.value
    if isinstance(value, dict):
        return type(value)((_resolve(key), _resolve(item)) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_resolve(item) for item in value)
    if isinstance(value, type) or callable(value):
        raise pickle.UnpicklingError("it holds a class or a function")
    return value
