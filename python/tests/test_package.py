"""What is installed."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import paddle2onnx_rs as p2o

SLOWEST_IMPORT = 0.1


def test_it_depends_on_numpy_alone() -> None:
    requirements = importlib.metadata.requires("paddle2onnx-rs")
    assert [name for name in requirements if "extra ==" not in name] == ["numpy>=1.21"]
    assert [name for name in requirements if "extra ==" in name] == ["onnxruntime>=1.17 ; extra == 'verify'"]
    assert importlib.util.find_spec("paddle") is None


def test_the_import_is_quick() -> None:
    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    # The best of several, since the machine has other work.
    times = [seconds("import paddle2onnx_rs") - seconds("pass") for _ in range(7)]
    assert min(times) < SLOWEST_IMPORT, times
    code = "import sys, paddle2onnx_rs; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_versions_agree_and_types_are_known() -> None:
    assert p2o.__version__ == importlib.metadata.version("paddle2onnx-rs")
    folder = Path(p2o.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_native.pyi").exists()
    assert all(getattr(p2o, name) for name in p2o.__all__)
