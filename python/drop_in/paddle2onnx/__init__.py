"""The functions of Paddle2ONNX, done by paddle2onnx-rs."""

import os
import tempfile

from paddle2onnx_rs import export

__all__ = ["dygraph2onnx", "export"]
__version__ = "2.1.0+rs"

# The arguments of `export` that `dygraph2onnx` passes on; `paddle.jit.save` gets all others.
_EXPORTED = {
    "auto_upgrade_opset",
    "dist_prim_all",
    "verbose",
    "enable_onnx_checker",
    "enable_experimental_op",
    "enable_optimize",
    "custom_op_info",
    "deploy_backend",
    "calibration_file",
    "external_file",
    "export_fp16_model",
    "optimize_tool",
}


def dygraph2onnx(layer, save_file, input_spec=None, opset_version=9, **configs):
    """Has Paddle save a layer, and converts it: what `paddle.onnx.export` calls."""
    import paddle

    exported = {name: configs.pop(name) for name in _EXPORTED & configs.keys()}
    with tempfile.TemporaryDirectory(prefix="paddle2onnx-") as folder:
        paddle.jit.save(layer, os.path.join(folder, "model"), input_spec, **configs)
        export(folder, None, save_file, opset_version, **exported)
