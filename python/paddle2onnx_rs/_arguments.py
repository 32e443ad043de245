"""Arguments that several functions share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

Path = Union[str, "os.PathLike[str]"]


def reading(
    model: Path,
    params: Optional[Path],
    custom_ops: Optional[Mapping[str, str]],
    outputs: Optional[Sequence[str]],
    renamed: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Which model to open, and how, for the extension."""
    if isinstance(outputs, str):
        raise TypeError(f"outputs={outputs!r}: a list of names is needed")
    return {
        "model": os.fspath(model),
        "params": None if params is None else os.fspath(params),
        "custom_ops": [f"{name}={operator}" for name, operator in (custom_ops or {}).items()],
        "outputs": list(outputs or ()),
        "renamed": list(renamed),
    }
