"""`verify`, and its report."""

from __future__ import annotations

import html
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _native
from ._arguments import Path, Shape, reading
from ._convert import USUAL, written
from ._progress import Progress, by_steps
from ._runtime import library

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    #: An array for the only input, or arrays by name.
    Arrays = Union[numpy.typing.ArrayLike, Mapping[str, numpy.typing.ArrayLike]]
    #: The arrays of a run or of several, or the .npz files with them.
    Runs = Union[Arrays, Path, Sequence[Union[Arrays, Path]]]


@dataclass(frozen=True)
class Comparison:
    """Two sides of an output, compared."""

    #: The side that is judged: "reference", "onnx_runtime", "expected", "paddle" or, where the model is in half precision,
    #: "unrounded", which is the program of half precision without rounding to it.
    side: str
    #: The side that it is compared with; "exact" is the reference in float64.
    against: str
    agrees: bool
    #: The distance: max_abs, max_rel, mean_abs, cosine, … None if shapes or element types differ.
    metrics: Optional[Mapping[str, Any]]


@dataclass(frozen=True)
class Output:
    """An output in one run."""

    name: str
    comparisons: tuple[Comparison, ...]
    #: What each side gave. bfloat16, which NumPy does not have, is widened to float32.
    values: Mapping[str, numpy.ndarray[Any, Any]] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Run:
    """All outputs for one set of inputs."""

    #: What the inputs are: a batch size, shapes, a file.
    inputs: str
    outputs: tuple[Output, ...]

    def __getitem__(self, name: str) -> Output:
        """The output of this name."""
        for output in self.outputs:
            if output.name == name:
                return output
        raise KeyError(name)


@dataclass(frozen=True, repr=False)
class Report:
    """What a verification has found. True if the ONNX model computes what the program computes.

    Printed, it is what `paddle2onnx-rs verify` prints; in notebooks it is a page with charts.
    """

    #: "parity", "parity_by_op", "partial_parity", "undecided" or "no_parity".
    verdict: str
    agrees: bool
    runs: tuple[Run, ...]
    #: All that the command prints with --json.
    data: Mapping[str, Any] = field(compare=False)
    #: The page that the command writes with --html.
    html: str = field(compare=False)
    _text: str = field(compare=False)

    def __bool__(self) -> bool:
        return self.agrees

    def __repr__(self) -> str:
        return self._text.rstrip()

    def _repr_html_(self) -> str:
        # A frame keeps the styles of the page and those of the notebook apart.
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 40em; border: 0"></iframe>'


def verify(
    model: Path,
    onnx: Union[Path, bytes, None] = None,
    *,
    params: Optional[Path] = None,
    opset: int = _native.DEFAULT_OPSET,
    custom_ops: Optional[Mapping[str, str]] = None,
    outputs: Optional[Sequence[str]] = None,
    inputs_at: Optional[Sequence[str]] = None,
    input_shapes: Optional[Mapping[str, Shape]] = None,
    rename: Optional[Mapping[str, str]] = None,
    dtype: Optional[str] = None,
    keep_f32: Optional[Sequence[str]] = None,
    io_dtype: str = "float32",
    inputs: Optional[Runs] = None,
    expected: Optional[Runs] = None,
    images: Optional[Sequence[Path]] = None,
    labels: Optional[Path] = None,
    resize_short: Optional[int] = None,
    crop: Optional[int] = None,
    mean: Optional[Sequence[float]] = None,
    std: Optional[Sequence[float]] = None,
    batch: Union[int, Iterable[int]] = (),
    shapes: Optional[Mapping[str, Sequence[int]]] = None,
    ranges: Optional[Mapping[str, tuple[float, float]]] = None,
    seed: int = 0,
    distribution: str = "normal",
    atol: Optional[float] = None,
    rtol: Optional[float] = None,
    per_op: bool = False,
    paddle: Optional[Path] = None,
    ort_lib: Optional[Path] = None,
    progress: Optional[Progress] = None,
) -> Report:
    """Runs a Paddle model in the reference interpreter and its ONNX model in ONNX Runtime, and compares every output.

    onnx: the ONNX model, as a file or as what `convert` returns; without it, the model is converted for the comparison
    inputs: arrays by name, an array for the only input, a .npz file, or a list of such things for several runs;
        without it, random numbers
    expected: recorded outputs, in the same forms
    images, resize_short, crop, mean, std: pictures, prepared as PaddleClas does, instead of inputs
    labels: a file with the names of the classes
    batch, shapes, ranges, seed, distribution ("normal" or "uniform"): the random inputs
    atol, rtol: a tolerance, instead of the rounding noise of the model
    per_op: compare every op as well
    paddle: a Python that has Paddle, to run the model there, too
    ort_lib: ONNX Runtime's library or its folder; without it, that of the package onnxruntime or of the system
    dtype, keep_f32, io_dtype: as for `convert`; a model that `convert` has written says it itself
    params, opset, custom_ops, outputs, inputs_at, input_shapes, rename, progress: as for `convert`
    """
    if distribution not in ("normal", "uniform"):
        raise ValueError(f'distribution={distribution!r}: it is "normal" or "uniform"')
    if inputs is not None and images is not None:
        raise ValueError("inputs and images exclude each other")
    if expected is not None and inputs is None and images is None:
        raise ValueError("expected needs the inputs that it belongs to")
    arrays, files = _runs(inputs, "inputs")
    expected_arrays, expected_files = _runs(expected, "expected")
    which = reading(
        model, params, custom_ops, outputs, inputs_at, input_shapes, rename, dtype, keep_f32, io_dtype
    )
    comparing = {
        "arrays": arrays,
        "files": files,
        "expected_arrays": expected_arrays,
        "expected_files": expected_files,
        "images": [os.fspath(image) for image in images or ()],
        "labels": None if labels is None else os.fspath(labels),
        "resize_short": resize_short,
        "crop": crop,
        "mean": None if mean is None else list(mean),
        "std": None if std is None else list(std),
        "batch": [batch] if isinstance(batch, int) else list(batch),
        "shapes": [(name, list(shape)) for name, shape in (shapes or {}).items()],
        "ranges": [(name, f"{low}..{high}") for name, (low, high) in (ranges or {}).items()],
        "seed": seed,
        "uniform": distribution == "uniform",
        "atol": atol,
        "rtol": rtol,
        "per_op": per_op,
        "paddle": None if paddle is None else os.fspath(paddle),
        "ort_lib": library() if ort_lib is None else os.fspath(ort_lib),
    }
    with tempfile.TemporaryDirectory(prefix="paddle2onnx-") as folder:
        file = os.path.join(folder, "model.onnx")
        if onnx is None:
            written(which, file, {**USUAL, "opset": opset}, stacklevel=3)
        elif isinstance(onnx, bytes):
            with open(file, "wb") as copy:
                copy.write(onnx)
        else:
            file = os.fspath(onnx)
        comparing["onnx"] = file
        comparing["onnx_name"] = None if onnx is None or isinstance(onnx, bytes) else file
        with by_steps(progress, "verify") as say:
            return _report(*_native.verify(which, comparing, say))


def _runs(given: Any, argument: str) -> tuple[list[list[_native._Array]], list[str]]:
    """The arrays of each run, or the files with them."""
    if given is None:
        return [], []
    runs = given if isinstance(given, (list, tuple)) and _is_list_of_runs(given) else [given]
    files = [os.fspath(run) for run in runs if isinstance(run, (str, os.PathLike))]
    if files:
        if len(files) < len(runs):
            raise TypeError(f"{argument}: files and arrays can't be mixed")
        return [], files
    return [_run(run, argument) for run in runs], []


def _is_list_of_runs(given: Sequence[Any]) -> bool:
    """Whether a list has an item per run; it may also be an array of numbers."""
    import numpy

    return bool(given) and isinstance(given[0], (str, os.PathLike, Mapping, numpy.ndarray))


def _run(run: Any, argument: str) -> list[_native._Array]:
    if isinstance(run, Mapping):
        return [_array(name, array, f"{argument}[{name!r}]") for name, array in run.items()]
    return [_array("", run, argument)]


def _array(name: str, given: Any, argument: str) -> _native._Array:
    import numpy

    array = numpy.asarray(given)
    if array.dtype.hasobject or array.dtype.kind in "USV" and array.dtype.name != "bfloat16":
        raise TypeError(f"{argument}: an array of {array.dtype}, but numbers are needed")
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return (name, array.dtype.name, array.shape, little.tobytes())


def _returned(array: _native._Array) -> numpy.ndarray[Any, Any]:
    import numpy

    _, dtype, shape, elements = array
    if dtype == "bfloat16":
        upper = numpy.frombuffer(elements, "<u2").astype("<u4") << numpy.uint32(16)
        widened: numpy.ndarray[Any, Any] = upper.view("<f4").reshape(shape)
        return widened
    return numpy.frombuffer(elements, numpy.dtype(dtype).newbyteorder("<")).reshape(shape)


def _report(
    agrees: bool, text: str, printed: str, page: str, values: list[list[list[_native._Array]]]
) -> Report:
    data = json.loads(printed)
    return Report(
        verdict=data["verdict"],
        agrees=agrees,
        runs=tuple(_report_of_run(run, outputs) for run, outputs in zip(data["runs"], values)),
        data=data,
        html=page,
        _text=text,
    )


def _report_of_run(run: Mapping[str, Any], values: list[list[_native._Array]]) -> Run:
    outputs = []
    for output, sides in zip(run["outputs"], values):
        compared = output["comparisons"]
        comparisons = tuple(Comparison(c["side"], c["against"], c["agrees"], c["metrics"]) for c in compared)
        outputs.append(Output(output["name"], comparisons, {side[0]: _returned(side) for side in sides}))
    return Run(run["inputs"], tuple(outputs))
