"""ONNX Runtime's library in the package `onnxruntime`."""

from __future__ import annotations

import importlib.util
import os
from typing import Optional


def library() -> Optional[str]:
    """The folder with the library of this Python's package; None if there is none, or the user has chosen another."""
    if os.environ.get("ORT_DYLIB_PATH"):
        return None
    # Not imported, which takes half a second.
    package = importlib.util.find_spec("onnxruntime")
    if package is None or not package.submodule_search_locations:
        return None
    folder = os.path.join(package.submodule_search_locations[0], "capi")
    return folder if os.path.isdir(folder) else None
