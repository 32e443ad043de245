"""Arguments that several functions share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

Path = Union[str, "os.PathLike[str]"]

#: The extents of an input: numbers, or names of extents that each run sets.
Shape = Sequence[Union[int, str]]


def reading(
    model: Path,
    params: Optional[Path],
    custom_ops: Optional[Mapping[str, str]] = None,
    outputs: Optional[Sequence[str]] = None,
    inputs_at: Optional[Sequence[str]] = None,
    input_shapes: Optional[Mapping[str, Shape]] = None,
    rename: Optional[Mapping[str, str]] = None,
    dtype: Optional[str] = None,
    keep_f32: Optional[Sequence[str]] = None,
    io_dtype: str = "float32",
) -> dict[str, Any]:
    """Which model to open, and how, for the extension."""
    for argument, names in (("outputs", outputs), ("inputs_at", inputs_at), ("keep_f32", keep_f32)):
        if isinstance(names, str):
            raise TypeError(f"{argument}={names!r}: a list of names is needed")
    return {
        "model": os.fspath(model),
        "params": None if params is None else os.fspath(params),
        "custom_ops": [f"{name}={operator}" for name, operator in (custom_ops or {}).items()],
        "outputs": list(outputs or ()),
        "inputs_at": list(inputs_at or ()),
        "input_shapes": [(name, list(shape)) for name, shape in (input_shapes or {}).items()],
        "renamed": list((rename or {}).items()),
        "dtype": dtype,
        "keep_f32": list(keep_f32 or ()),
        "io_dtype": io_dtype,
    }
