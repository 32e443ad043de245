"""The package called `paddle2onnx`, which must be installed, with PaddleX and without Paddle."""

import importlib.metadata
import shutil
import subprocess
import sysconfig
from pathlib import Path

import onnx
import paddle2onnx
import pytest

SCRIPTS = Path(sysconfig.get_path("scripts"))
VIT = Path(__file__).resolve().parents[3] / "fixtures/paddle-3.3.1/vit/ViT_base_patch16_224"


def test_export_is_that_of_paddle2onnx_rs() -> None:
    import paddle2onnx_rs

    assert paddle2onnx.export is paddle2onnx_rs.export
    assert paddle2onnx.__version__ == importlib.metadata.version("paddle2onnx")


def test_the_command_takes_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    arguments = ["-m", VIT, "-mf", "inference.json", "-pf", "inference.pdiparams", "-s", file, "-ov", "13"]
    subprocess.run([SCRIPTS / "paddle2onnx", *arguments], check=True)
    assert onnx.load(file).opset_import[0].version == 13


@pytest.mark.parametrize("elsewhere", [False, True])
def test_paddlex_converts_a_folder_of_its_own(tmp_path: Path, elsewhere: bool) -> None:
    model = tmp_path / "model"
    shutil.copytree(VIT, model)
    (model / "inference.yml").write_text("Global:\n  model_name: ViT\n")
    target = tmp_path / "onnx" if elsewhere else model
    command = [SCRIPTS / "paddlex", "--paddle2onnx", "--paddle_model_dir", model]
    command += ["--onnx_model_dir", target] if elsewhere else []
    ran = subprocess.run(command, capture_output=True, text=True, env={"PATH": f"{SCRIPTS}:/usr/bin:/bin"})
    assert ran.returncode == 0, ran
    # PaddleX asks for opset 7.
    onnx.checker.check_model(onnx.load(target / "inference.onnx"), full_check=True)
    assert (target / "inference.yml").exists()
