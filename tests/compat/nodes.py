"""Counts the nodes of the same models converted by this program, by Paddle2ONNX of PyPI, and by p2o.

    python tests/compat/nodes.py OURS --zoo target/zoo [--models "ViT*"] [--1.3.1 PYTHON FOLDER] [--2.1.0 PYTHON FOLDER]
        [--p2o FILE]

OURS is this program. The models are those that `fixtures/generate.py zoo` has exported: Paddle2ONNX 1.3.1 gets those of
Paddle 2.6.2, and its models are simplified by `onnxslim`; 2.1.0 and p2o get those of Paddle 3.3.1. PYTHON and FOLDER are
those of `compare.py`; p2o comes from `pip install p2o`. Needs onnxslim, and what `compare.py` does. Prints a table in
Markdown, with `-` for what fails, and for models that ONNX Runtime does not load. Exits with 1 if another converter needs fewer nodes for a model than this one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import onnxruntime

from compare import FORMATS, convert

OPSET = "17"


def count(graph: onnx.GraphProto) -> int:
    """The nodes of a graph and of its subgraphs. Constants that peers write as nodes are none."""
    nodes = [node for node in graph.node if node.op_type != "Constant"]
    bodies = [attribute.g for node in nodes for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    return len(nodes) + sum(map(count, bodies))


def session(model: Path, optimized: bool = True) -> onnxruntime.InferenceSession | None:
    """A session of a model, or None if ONNX Runtime does not load it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Threads that wait for work in one session would take time from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception:  # Its errors have no common class.
        return None


def counted(model: Path) -> int | None:
    """The number of nodes of a model, or None if there is none that ONNX Runtime loads."""
    if not model.exists() or session(model, optimized=False) is None:
        return None
    return count(onnx.load(model, load_external_data=False).graph)


def converted(command: list, output: Path) -> int | None:
    """The number of nodes of what a command writes to `output`, or None if it fails."""
    output.unlink(missing_ok=True)
    try:
        command = [os.path.abspath(part) if os.path.exists(part) else str(part) for part in command]
        # onnxslim leaves files where it runs.
        subprocess.run(command, cwd=output.parent, capture_output=True, timeout=600, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return counted(output)


def paddle2onnx(version: str, given: list[str] | None, model: Path, output: Path, slim: bool) -> int | None:
    if given is None:
        return None
    python, folder = given
    output.unlink(missing_ok=True)
    try:
        convert([python, "-m", "paddle2onnx.command"], folder, model, FORMATS[version][1], output, OPSET)
    except RuntimeError:
        return None
    if not slim:
        return counted(output)
    slimmed = output.with_suffix(".slim.onnx")
    return converted([Path(sys.executable).with_name("onnxslim"), output, slimmed], slimmed)


def converters(description: str) -> argparse.ArgumentParser:
    """A parser of where the converters and the models are."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours")
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--1.3.1", dest="first", nargs=2, metavar=("PYTHON", "FOLDER"))
    parser.add_argument("--2.1.0", dest="second", nargs=2, metavar=("PYTHON", "FOLDER"))
    parser.add_argument("--p2o")
    return parser


def main() -> int:
    parser = converters(__doc__)
    parser.add_argument("--models", default="*", help="a pattern of their names (default: all)")
    given = parser.parse_args()
    is_least = True
    print("| model | ours | 1.3.1 + onnxslim | 2.1.0 | p2o |\n| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=given.zoo.absolute()) as scratch:
        output = Path(scratch) / "model.onnx"
        for model in sorted((given.zoo / "paddle-3.3.1").glob(given.models)):
            older = given.zoo / "paddle-2.6.2" / model.name
            ours = converted([given.ours, "convert", model, "-o", output, "--opset", OPSET], output)
            files = [model / "inference.json", model / "inference.pdiparams"]
            peers = [
                paddle2onnx("1.3.1", given.first, older, output, True),
                paddle2onnx("2.1.0", given.second, model, output, False),
                converted([given.p2o, *files, output, "--opset", OPSET], output) if given.p2o else None,
            ]
            is_least &= ours is not None and all(nodes is None or ours <= nodes for nodes in peers)
            cells = ["-" if nodes is None else str(nodes) for nodes in (ours, *peers)]
            print(f"| {model.name} | {' | '.join(cells)} |", flush=True)
    return 0 if is_least else 1


if __name__ == "__main__":
    sys.exit(main())
