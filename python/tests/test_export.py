"""`export`, which takes the place of `paddle2onnx.export`."""

import inspect
import os
from pathlib import Path

import onnx
import pytest

import paddle2onnx_rs as p2o

# Those of Paddle2ONNX 2.1.0.
PARAMETERS = {
    "model_filename": inspect.Parameter.empty,
    "params_filename": inspect.Parameter.empty,
    "save_file": None,
    "opset_version": 7,
    "auto_upgrade_opset": True,
    "dist_prim_all": False,
    "verbose": False,
    "enable_onnx_checker": True,
    "enable_experimental_op": True,
    "enable_optimize": True,
    "custom_op_info": None,
    "deploy_backend": "onnxruntime",
    "calibration_file": "",
    "external_file": "",
    "export_fp16_model": False,
    "optimize_tool": "polygraphy",
}


def files(model: Path) -> "tuple[str, str]":
    name = "inference.json" if "3.3.1" in str(model) else "inference.pdmodel"
    return str(model / name), str(model / "inference.pdiparams")


def test_the_arguments_are_those_of_paddle2onnx() -> None:
    own = inspect.signature(p2o.export).parameters
    assert list(own) == list(PARAMETERS)
    for name, default in PARAMETERS.items():
        # What is needed there may be left out here.
        if default is not inspect.Parameter.empty:
            assert own[name].default == default, name


def test_it_writes_a_file_or_returns_bytes(vit: Path, tmp_path: Path) -> None:
    model, params = files(vit)
    file = tmp_path / "model.onnx"
    assert p2o.export(model, params, str(file)) is None
    returned = p2o.export(model, params)
    assert returned == file.read_bytes()
    assert onnx.load_from_string(returned).opset_import[0].version == 9
    assert p2o.export(model, params, None, 16) == p2o.convert(vit, opset=16)


def test_failures_are_exceptions_and_leave_nothing(vit: Path, tmp_path: Path) -> None:
    model, params = files(vit)
    file = str(tmp_path / "model.onnx")
    for wrong in (str(tmp_path), str(tmp_path / "none.json"), params):
        with pytest.raises(p2o.Error):
            p2o.export(wrong, params, file)
    with pytest.raises(p2o.Error):
        p2o.export(model, model, file)
    with pytest.raises(p2o.Error, match="opset"):
        p2o.export(model, params, file, 8, False)
    with pytest.raises(p2o.Error, match="tensorflow"):
        p2o.export(model, params, file, deploy_backend="tensorflow")
    assert os.listdir(tmp_path) == []
    # What such a model is written like does not depend on the backend.
    assert p2o.export(model, params, deploy_backend="TensorRT")


def test_half_precision_is_that_of_convert(vit: Path) -> None:
    model, params = files(vit)
    half = p2o.export(model, params, None, 16, export_fp16_model=True)
    assert half == p2o.convert(vit, opset=16, dtype="float16")


def test_what_has_no_effect_is_a_warning(vit: Path) -> None:
    model, params = files(vit)
    with pytest.warns(UserWarning) as caught:
        p2o.export(model, params, dist_prim_all=True, optimize_tool="onnxoptimizer", external_file="x")
    messages = [str(warning.message) for warning in caught]
    assert [message.split()[0] for message in messages] == ["dist_prim_all", "external_file", "optimize_tool"]
    assert {warning.filename for warning in caught} == {__file__}
