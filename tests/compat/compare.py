"""Has Paddle2ONNX of PyPI and this program convert the same models with the same command line, and compares the results.

    python tests/compat/compare.py 1.3.1 PYTHON FOLDER OURS
    python tests/compat/compare.py 2.1.0 PYTHON FOLDER OURS

PYTHON is one that has Paddle, 2.6.2 for 1.3.1 and 3.3.1 for 2.1.0. FOLDER has Paddle2ONNX (`pip install --no-deps --target
FOLDER -r tests/compat/requirements-1.3.1.txt`, or that of 2.1.0). OURS is this program. Both get the arguments that follow
the word `paddle2onnx` in a shell. The models must have the same inputs and outputs: names, element types and ranks, in the
same order. ONNX Runtime must compute the same with both, on the inputs that are recorded in the fixtures. Needs
`fixtures/requirements-check.txt`. Exits with 1 if anything differs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

# The fixtures of the Paddle that each version is for, and the name of their programs.
FORMATS = {"1.3.1": ("paddle-2.6.2", "inference.pdmodel"), "2.1.0": ("paddle-3.3.1", "inference.json")}

MODELS = {
    "1.3.1": [
        "vit/ViT_base_patch16_224",
        "transformers/bert",
        "transformers/encoder",
        "recurrent/crnn",
        "inputs/squares",
    ],
    "2.1.0": [
        "vit/ViT_base_patch16_224",
        "transformers/bert",
        "recurrent/crnn",
        "inputs/detector",
        "control_flow/cached_decoder",
    ],
}

# What two correct conversions of one model may differ by.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}

OPSET = "13"


def convert(command: list[str], packages: str, model: Path, program: str, output: Path, opset: str = OPSET) -> None:
    """Runs a converter. A RuntimeError if it fails."""
    arguments = ["--model_dir", model, "--model_filename", program, "--params_filename", "inference.pdiparams"]
    arguments += ["--save_file", output, "--opset_version", opset, "--enable_onnx_checker", "True"]
    environment = {**os.environ, "PYTHONPATH": packages}
    ran = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=environment)
    if ran.returncode != 0 or not output.exists():
        raise RuntimeError(f"{' '.join(command)} failed:\n{ran.stdout}{ran.stderr}")


def ports(values) -> list[tuple[str, int, int]]:
    """The names, element types and ranks of inputs or outputs."""
    tensors = [(value.name, value.type.tensor_type) for value in values]
    return [(name, tensor.elem_type, len(tensor.shape.dim)) for name, tensor in tensors]


def run(file: Path, recorded: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What ONNX Runtime computes."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {port.name: recorded[port.name] for port in session.get_inputs()})


def differences(theirs: Path, ours: Path, model: Path) -> list[str]:
    """What is not the same in two conversions of a model."""
    graphs = [onnx.load(file).graph for file in (theirs, ours)]
    found = []
    for what in ("input", "output"):
        their, our = (ports(getattr(graph, what)) for graph in graphs)
        if their != our:
            found.append(f"{what}s {their} and {our}")
    for file in sorted(model.glob("*.npz")):
        with np.load(file) as archive:
            recorded = dict(archive)
        for number, (their, our) in enumerate(zip(run(theirs, recorded), run(ours, recorded), strict=True)):
            if their.dtype != our.dtype or their.shape != our.shape:
                found.append(f"{file.name}: output {number}: {their.dtype}{their.shape} and {our.dtype}{our.shape}")
            elif not np.allclose(their, our, **TOLERANCE):
                largest = np.abs(their.astype("float64") - our).max()
                found.append(f"{file.name}: output {number} differs by {largest:.2e}")
    return found


def main() -> int:
    version, python, packages, ours = sys.argv[1:]
    folder, program = FORMATS[version]
    original = [python, "-m", "paddle2onnx.command"]
    failed = 0
    for name in MODELS[version]:
        model = FIXTURES / folder / name
        with tempfile.TemporaryDirectory() as scratch:
            files = [Path(scratch) / "theirs.onnx", Path(scratch) / "ours.onnx"]
            try:
                convert(original, packages, model, program, files[0])
                convert([ours, "compat"], packages, model, program, files[1])
                found = differences(*files, model)
            except RuntimeError as error:
                found = [str(error)]
        print(f"{version} {name}: {'; '.join(found) or 'the same'}")
        failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
