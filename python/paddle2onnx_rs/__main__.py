"""The command line: `paddle2onnx-rs`, or `python -m paddle2onnx_rs`."""

from __future__ import annotations

import os
import sys

from . import _native
from ._runtime import library


def main() -> int:
    """Runs the command line with the arguments of this process, and returns the exit code."""
    folder = library()
    if folder is not None:
        os.environ["ORT_DYLIB_PATH"] = folder
    name = os.path.basename(sys.argv[0])
    if name == "__main__.py":
        name = "paddle2onnx-rs"
    # How `zoo` starts its workers.
    again = [sys.executable, "-m", "paddle2onnx_rs"]
    return _native.main([name, *sys.argv[1:]], again)


if __name__ == "__main__":
    sys.exit(main())
