"""Times the same models in ONNX Runtime, converted by this program, by Paddle2ONNX of PyPI, and by p2o.

    python tests/compat/latency.py OURS --zoo target/zoo [--1.3.1 PYTHON FOLDER] [--2.1.0 PYTHON FOLDER] [--p2o FILE]
        [--target onnxruntime] MODEL@3x224x224...

Models and converters are those of `nodes.py`; behind the @ is the shape of one input. For each batch size, all exports of a
model run in turn, and what is printed is the median of our times, and that of the ratios of ours to each other's, pair by
pair. Where its memory lies makes a model up to 3 % slower or faster, so all are loaded anew, in another order, for each of
`--rounds`. Exits with 1 if a ratio is above 1 by more than `--slack`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

import nodes

BATCHES = (1, 4, 8)


def timed(model: onnxruntime.InferenceSession, x: np.ndarray) -> float:
    start = time.perf_counter()
    model.run(None, {model.get_inputs()[0].name: x})
    return time.perf_counter() - start


def exports(given: argparse.Namespace, name: str, folder: Path) -> dict[str, Path]:
    """The models that the converters write, by the converters' names. Those that fail are left out."""
    model, older = given.zoo / "paddle-3.3.1" / name, given.zoo / "paddle-2.6.2" / name
    files = {converter: folder / f"{converter}.onnx" for converter in ("ours", "1.3.1", "2.1.0", "p2o")}
    nodes.converted([given.ours, "convert", model, "--target", given.target, "-o", files["ours"]], files["ours"])
    nodes.paddle2onnx("1.3.1", given.first, older, files["1.3.1"], False)
    nodes.paddle2onnx("2.1.0", given.second, model, files["2.1.0"], False)
    if given.p2o:
        source = [model / "inference.json", model / "inference.pdiparams"]
        nodes.converted([given.p2o, *source, files["p2o"], "--opset", nodes.OPSET], files["p2o"])
    return {converter: file for converter, file in files.items() if file.exists()}


def times(files: dict[str, Path], x: np.ndarray, given: argparse.Namespace) -> dict[str, list[float]]:
    """The times of runs on `x`, by converters, whose exports run in turn. Those that ONNX Runtime does not load have none."""
    times, turns = {}, list(files)
    for _ in range(given.rounds):
        turns.append(turns.pop(0))
        sessions = {converter: nodes.session(files[converter]) for converter in turns}
        sessions = {converter: loaded for converter, loaded in sessions.items() if loaded}
        for model in sessions.values():
            timed(model, x)  # The first run allocates.
        for _ in range(given.runs):
            for converter, model in sessions.items():
                times.setdefault(converter, []).append(timed(model, x))
    return times


def main() -> int:
    parser = nodes.converters(__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL@SHAPE")
    parser.add_argument("--target", default="portable", help="the runtime that our models are for (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slack", type=float, default=0.02, help="what a ratio may be above 1 (default: %(default)s)")
    given = parser.parse_args()
    is_fastest = True
    print("| model | batch | ours | / 1.3.1 | / 2.1.0 | / p2o |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, _, shape in (model.partition("@") for model in given.models):
        with tempfile.TemporaryDirectory(dir=given.zoo.absolute()) as folder:
            files = exports(given, name, Path(folder))
            for batch in BATCHES:
                extents = [batch, *map(int, shape.split("x"))]
                x = np.random.default_rng(0).standard_normal(extents, dtype=np.float32)
                timings = times(files, x, given)
                ratios = {
                    converter: statistics.median(ours / other for ours, other in zip(timings["ours"], others, strict=True))
                    for converter, others in timings.items()
                }
                is_fastest &= all(ratio <= 1 + given.slack for ratio in ratios.values())
                cells = [f"{ratios[converter]:.3f}" if converter in ratios else "-" for converter in ("1.3.1", "2.1.0", "p2o")]
                milliseconds = 1000 * statistics.median(timings["ours"])
                print(f"| {name} | {batch} | {milliseconds:.1f} ms | {' | '.join(cells)} |", flush=True)
    return 0 if is_fastest else 1


if __name__ == "__main__":
    sys.exit(main())
