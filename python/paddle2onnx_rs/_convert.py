"""`convert`."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

from . import _native
from ._arguments import Path, Shape, reading
from ._progress import Progress, by_bytes


#: How a model is converted if nothing else is asked for.
USUAL: Mapping[str, Any] = {
    "opset": None,
    "ir_version": None,
    "target": "portable",
    "weights": "auto",
    "dequantize": False,
    "drop_nms": False,
    "nms_limit": None,
}


class Note(UserWarning):
    """Where an ONNX model takes something for granted that the program does not, or does it in another way."""


def convert(
    model: Path,
    output: Optional[Path] = None,
    *,
    params: Optional[Path] = None,
    opset: Union[int, str, None] = None,
    ir_version: Optional[int] = None,
    target: str = "portable",
    weights: str = "auto",
    custom_ops: Optional[Mapping[str, str]] = None,
    outputs: Optional[Sequence[str]] = None,
    inputs_at: Optional[Sequence[str]] = None,
    input_shapes: Optional[Mapping[str, Shape]] = None,
    rename: Optional[Mapping[str, str]] = None,
    dtype: Optional[str] = None,
    keep_f32: Optional[Sequence[str]] = None,
    io_dtype: str = "float32",
    dequantize: bool = False,
    drop_nms: bool = False,
    nms_limit: Optional[int] = None,
    progress: Optional[Progress] = None,
) -> Optional[bytes]:
    """Converts a Paddle model to ONNX.

    Without `output`, the ONNX model is returned. Otherwise it is written to that file, which appears when it is complete.

    params: the weights, if they are not beside the program
    opset: the version of ONNX's operator set, or "auto" for the lowest that will do; without it, that of the target
    ir_version: the version of ONNX's format; without it, the lowest that the opset allows
    target: the runtime that the model is for, as in `paddle2onnx-rs convert --help`; what does not fit it is a warning
    weights: where they go: "auto", "inline", "external" (NAME.onnx.data) or "link" (they stay in Paddle's file)
    custom_ops: operators of other domains for ops that are not supported, as in {"my_relu": "com.example::MyRelu"}
    outputs: the values to make the outputs, by name; the ops that they don't need are left out
    inputs_at: values to take in place of what computes them
    input_shapes: shapes of inputs, in numbers or names of extents, as in {"x": (1, 3, "height", "width")}
    rename: other names for inputs and outputs, as in {"fetch_name_0": "logits"}
    dtype: "float16" or "bfloat16" for a model of half precision; ops that need more digits or range stay in float32
    keep_f32: what stays in float32 beside them: names of ops, or parts of the names of layers, results and weights
    io_dtype: the type of those inputs and outputs that are float32 in Paddle: "float32", or that of dtype
    dequantize: write the float model behind a quantised one
    drop_nms: leave out the choice of boxes; the outputs are `boxes` and `scores`
    nms_limit: have detectors find exactly this many boxes
    progress: what makes a progress bar, such as tqdm.tqdm
    """
    if drop_nms and nms_limit is not None:
        raise ValueError("drop_nms and nms_limit exclude each other")
    if isinstance(opset, str) and opset != "auto":
        raise TypeError(f'opset={opset!r}: a number or "auto" is needed')
    how = {
        **USUAL,
        # There is no opset 0, which stands for the lowest.
        "opset": 0 if opset == "auto" else opset,
        "ir_version": ir_version,
        "target": target,
        "weights": weights,
        "dequantize": dequantize,
        "drop_nms": drop_nms,
        "nms_limit": nms_limit,
    }
    which = reading(
        model, params, custom_ops, outputs, inputs_at, input_shapes, rename, dtype, keep_f32, io_dtype
    )
    return written(which, output, how, progress, stacklevel=3)


def written(
    which: Mapping[str, Any],
    output: Optional[Path],
    how: dict[str, Any],
    progress: Optional[Progress] = None,
    *,
    stacklevel: int,
) -> Optional[bytes]:
    """The ONNX model, or None if it is written to `output`. Notes are warnings at `stacklevel`, as this function sees it."""
    if output is not None:
        to_file(which, os.fspath(output), how, progress, stacklevel + 1)
        return None
    if how["weights"] not in ("auto", "inline"):
        raise ValueError(f"weights={how['weights']!r}: what is returned has its weights inside; name an output for others")
    with tempfile.TemporaryDirectory(prefix="paddle2onnx-") as folder:
        file = os.path.join(folder, "model.onnx")
        to_file(which, file, {**how, "weights": "inline"}, progress, stacklevel + 1)
        with open(file, "rb") as onnx:
            return onnx.read()


def to_file(
    which: Mapping[str, Any], file: str, how: Mapping[str, Any], progress: Optional[Progress], stacklevel: int
) -> None:
    """Writes the ONNX model to a file."""
    with by_bytes(progress, os.path.basename(file)) as step:
        notes = _native.convert(which, {**how, "output": file}, step)
    for note in notes:
        warnings.warn(note, Note, stacklevel=stacklevel)
