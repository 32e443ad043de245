"""Converts PaddlePaddle inference models to ONNX, without Paddle, and proves the result.

    >>> import paddle2onnx_rs as p2o
    >>> p2o.convert("model", "model.onnx")
    >>> p2o.verify("model", "model.onnx")

A model is the path of a program (`inference.json`, `inference.pdmodel`, `__model__`) or of the folder with it. What can't be
done raises `Error`, and no unfinished file is left. Notes on a conversion are warnings of the category `Note`. Long
calls run without Python's lock, end with Ctrl-C, and show their progress with `progress=tqdm.tqdm`.
"""

from ._compat import export
from ._convert import Note, convert
from ._inspect import Check, Inspection, Obstacle, OpCount, Port, Remark, SupportedOp, check, inspect, ops
from ._native import Error, __version__
from ._verify import Comparison, Output, Report, Run, verify

__all__ = [
    "Check",
    "Comparison",
    "Error",
    "Inspection",
    "Note",
    "Obstacle",
    "OpCount",
    "Output",
    "Port",
    "Remark",
    "Report",
    "Run",
    "SupportedOp",
    "__version__",
    "check",
    "convert",
    "export",
    "inspect",
    "ops",
    "verify",
]
