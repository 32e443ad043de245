"""The command line of the package."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

SCRIPT = Path(sysconfig.get_path("scripts")) / "paddle2onnx-rs"


def run(*arguments: object, **more: object) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DYLIB_PATH"}
    command = [str(argument) for argument in (SCRIPT, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **more)


def test_it_converts_and_finds_the_package_onnxruntime(vit: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    ran = run("convert", vit, "--output", file, "--verify", "--batch", 1)
    assert ran.returncode == 0, ran
    assert file.exists()
    assert "Parity" in ran.stdout
    assert run("--version").stdout.startswith("paddle2onnx-rs ")


def test_the_exit_codes_are_those_of_the_program(vit: Path, tmp_path: Path) -> None:
    assert run("convert", tmp_path).returncode == 2
    assert run("convert", vit, "--wrong").returncode == 2
    assert run("--help").returncode == 0


def test_zoo_starts_workers(vit: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "zoo.toml"
    manifest.write_text(f'[[model]]\npath = "{vit}"\nbatches = [1]\n')
    ran = run("zoo", "run", manifest)
    assert ran.returncode == 0, ran
    module = subprocess.run([sys.executable, "-m", "paddle2onnx_rs", "zoo", "run", manifest], capture_output=True)
    assert module.returncode == 0, module


def test_it_is_paddle2onnx_where_it_is_called_so(vit: Path, tmp_path: Path) -> None:
    link = tmp_path / "paddle2onnx"
    link.symlink_to(SCRIPT)
    file = tmp_path / "model.onnx"
    ran = subprocess.run([link, "-m", vit, "-s", file], capture_output=True, text=True)
    assert ran.returncode == 0, ran
    assert file.exists()
    assert run("compat", "--model_dir", vit, "--save_file", file).returncode == 0


def test_nothing_else_is_called_paddle2onnx() -> None:
    assert shutil.which("paddle2onnx", path=sysconfig.get_path("scripts")) is None


def test_ctrl_c_ends_it(vit: Path) -> None:
    process = subprocess.Popen(
        [SCRIPT, "verify", vit, "--batch", "2048,2049,2050,2051,2052,2053,2054"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert stderr == b"error: interrupted\n"
