"""`export`, with the arguments of `paddle2onnx.export`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Optional

from . import _native
from ._arguments import Path, reading
from ._convert import USUAL, written

#: Arguments without a meaning here, with their usual values and the reason.
_WITHOUT_EFFECT = {
    "dist_prim_all": (False, "composite ops are converted as they are"),
    "enable_onnx_checker": (True, "models are right by construction"),
    "enable_experimental_op": (True, "there are no experimental ops"),
    "enable_optimize": (True, "constants are folded and dead ops dropped in any case"),
    "calibration_file": ("", "the scales of a quantised model are in the model"),
    "external_file": ("", "weights beyond 2 GiB go to NAME.onnx.data"),
    "optimize_tool": ("polygraphy", "models need no other tool"),
}


def export(
    model_filename: Path,
    params_filename: Optional[Path] = None,
    save_file: Optional[Path] = None,
    opset_version: int = 7,
    auto_upgrade_opset: bool = True,
    dist_prim_all: bool = False,
    verbose: bool = False,
    enable_onnx_checker: bool = True,
    enable_experimental_op: bool = True,
    enable_optimize: bool = True,
    custom_op_info: Optional[Mapping[str, str]] = None,
    deploy_backend: str = "onnxruntime",
    calibration_file: str = "",
    external_file: str = "",
    export_fp16_model: bool = False,
    optimize_tool: str = "polygraphy",
) -> Optional[bytes]:
    """Converts a model as `paddle2onnx.export` of Paddle2ONNX 2.1 does, whose arguments it has.

    Without `save_file`, the ONNX model is returned. With `auto_upgrade_opset`, the opset is the lowest from `opset_version`
    on that the model can be converted to. What can't be done raises `Error`; what has no effect here is a warning.
    """
    given = locals()
    for name, (usual, why) in _WITHOUT_EFFECT.items():
        if given[name] != usual and given[name] is not None:
            warnings.warn(f"{name} has no effect: {why}", stacklevel=2)
    custom_ops = {name: f"Paddle::{operator}" for name, operator in (custom_op_info or {}).items()}
    dtype = "float16" if export_fp16_model else None
    which = reading(model_filename, params_filename or None, custom_ops, dtype=dtype)
    if deploy_backend.lower() != "onnxruntime":
        _native.refuse_backend(which, deploy_backend)
    opset = max(opset_version, _native.lowest_opset(which)) if auto_upgrade_opset else opset_version
    return written(which, save_file, {**USUAL, "opset": opset}, stacklevel=3)
