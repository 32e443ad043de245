"""Runs converted models in the engines that people deploy to, and compares their results with ONNX Runtime's.

    python engines.py [--binary FILE] [--limit X] [--markdown] MODEL[@1x3x224x224]...

Each MODEL is a folder with a Paddle model. It is converted as users do it, without options, and runs at batch 1, or in
the shape behind the @, on random inputs. That ONNX Runtime computes what Paddle does is shown by other tests.

MNN converts the model with `mnnconvert`, NCNN with `pnnx`; OpenVINO and tract read it as it is. tract is run if its program has
been built (`cargo build --release --manifest-path tests/engines/tract/Cargo.toml --target-dir target/tract`). Exits with 1 if a result is
further off than the limit (for MNN twice that; of results above 1, their largest is the unit), or another class is the
most probable one. What an engine can't run is listed with the reason, and also counts as failed.

Needs `requirements.txt`, and `requirements-no-deps.txt` with `pip install --no-deps`.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent.parent
TRACT = ROOT / "target/tract/release/run-in-tract"


def in_onnx_runtime(model, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options).run(None, inputs)


def in_openvino(model, inputs):
    import openvino

    # OpenVINO's default on some processors is bfloat16, which is too imprecise for a comparison.
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(inputs)
    return [results[output] for output in compiled.outputs]


def in_mnn(model, inputs):
    import MNN

    converted = Path(model).with_suffix(".mnn")
    run([Path(sys.executable).with_name("mnnconvert"), "-f", "ONNX", "--modelFile", model, "--MNNModel", converted])
    outputs = [output.name for output in onnx.load(model).graph.output]
    config = {"backend": "CPU", "precision": "high", "numThread": 1}
    net = MNN.nn.load_module_from_file(str(converted), list(inputs), outputs, config=config)
    given = [MNN.expr.const(array, array.shape, MNN.expr.NCHW) for array in inputs.values()]
    # What is read is memory of the network's, which ends with this function.
    return [np.array(MNN.expr.convert(result, MNN.expr.NCHW).read()) for result in net.forward(given)]


def in_ncnn(model, inputs):
    import ncnn

    # The module itself can't be imported without PyTorch.
    folder = Path(importlib.util.find_spec("pnnx").submodule_search_locations[0])
    shapes = ",".join(f"[{','.join(map(str, array.shape))}]f32" for array in inputs.values())
    # pnnx leaves files where it runs.
    run([folder / "pnnx", model, f"inputshape={shapes}", "fp16=0"], Path(model).parent)
    net = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    stem = str(Path(model).with_suffix(""))
    if net.load_param(f"{stem}.ncnn.param") or net.load_model(f"{stem}.ncnn.bin"):
        raise RuntimeError("ncnn does not load what pnnx has written")
    extractor = net.create_extractor()
    for number, array in enumerate(inputs.values()):
        extractor.input(f"in{number}", ncnn.Mat(array[0]).clone())
    results = []
    for number, _ in enumerate(onnx.load(model).graph.output):
        code, result = extractor.extract(f"out{number}")
        if code:
            raise RuntimeError(f"ncnn fails with {code}")
        results.append(np.array(result))
    return results


def in_tract(model, inputs):
    with tempfile.TemporaryDirectory() as folder:
        for number, array in enumerate(inputs.values()):
            np.save(f"{folder}/in{number}.npy", array)
        run([TRACT, model, folder])
        return [np.load(f"{folder}/out{number}.npy") for number, _ in enumerate(onnx.load(model).graph.output)]


# Each engine with the multiple of the limit that its results may be off.
ENGINES = {"OpenVINO": (in_openvino, 1), "MNN": (in_mnn, 2), "NCNN": (in_ncnn, 1)}
if TRACT.exists():
    ENGINES["tract"] = (in_tract, 1)


def run(command, folder=None):
    """Runs a program in a process of its own. Its last line is the reason if it fails."""
    environment = {**os.environ, "RUST_BACKTRACE": "0"}
    command = [str(part) for part in command]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stdout + result.stderr).strip().splitlines()
        raise RuntimeError(f"{Path(command[0]).name}: {lines[-1] if lines else result.returncode}")


def random_inputs(model, shape):
    """Inputs of a model, with 1 for open extents unless `shape` says something else."""
    generator = np.random.default_rng(0)
    inputs = {}
    for value in onnx.load(model).graph.input:
        declared = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        inputs[value.name] = generator.standard_normal(shape or declared, dtype=np.float32)
    return inputs


def compared(engine, model, inputs, expected, limit):
    """What an engine's results are off, and whether that is right."""
    run_in, multiple = ENGINES[engine]
    try:
        results = run_in(model, inputs)
    except Exception as error:  # Whatever an engine says is its result.
        return f"fails: {str(error).strip().splitlines()[0] if str(error) else type(error).__name__}", False
    worst = 0.0
    for result, right in zip(results, expected, strict=True):
        result, right = np.asarray(result).reshape(-1), np.asarray(right).reshape(-1)
        if result.shape != right.shape:
            return f"{result.size} elements instead of {right.size}", False
        if result.argmax() != right.argmax():
            return "another class", False
        # Results that are no probabilities may be large.
        worst = max(worst, float(np.abs(result - right).max() / max(1, np.abs(right).max())))
    return f"{worst:.1e}", worst <= limit * multiple


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL[@SHAPE]")
    parser.add_argument("--binary", default=str(ROOT / "target/release/paddle2onnx-rs"))
    parser.add_argument("--limit", type=float, default=1e-5, help="the largest absolute error (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print a table for a page")
    arguments = parser.parse_args()
    is_right = True
    start, between, end = ("| ", " | ", " |") if arguments.markdown else ("", "  ", "")
    print(start + between.join([f"{'model':32}", *(f"{engine:10}" for engine in ENGINES)]) + end, flush=True)
    if arguments.markdown:
        print("|" + " --- |" * (len(ENGINES) + 1))
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(arguments.models):
            path, _, shape = text.partition("@")
            model = f"{folder}/{number}.onnx"
            subprocess.run([arguments.binary, "convert", path, "-o", model], check=True, stdout=subprocess.DEVNULL)
            inputs = random_inputs(model, [int(extent) for extent in shape.split("x")] if shape else None)
            expected = in_onnx_runtime(model, inputs)
            cells = [compared(engine, model, inputs, expected, arguments.limit) for engine in ENGINES]
            is_right &= all(right for _, right in cells)
            row = [f"{Path(path).name:32}", *(f"{cell:10}" for cell, _ in cells)]
            print(start + between.join(row) + end, flush=True)
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
