"""`verify`."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES

import paddle2onnx_rs as p2o


def recorded(model: Path) -> "tuple[dict[str, np.ndarray], dict[str, np.ndarray]]":
    """The inputs and outputs that were recorded of a model."""
    found = p2o.inspect(model)
    with np.load(model / "batch3.npz") as file:
        arrays = dict(file)
    inputs = {port.name: arrays[port.name] for port in found.inputs}
    return inputs, {port.name: arrays[port.name] for port in found.outputs}


def test_arrays_go_in_and_come_out(vit: Path) -> None:
    inputs, expected = recorded(vit)
    report = p2o.verify(vit, inputs=inputs, expected=expected)
    assert report and report.agrees and report.verdict == "parity"
    (run,) = report.runs
    for name, array in expected.items():
        values = run[name].values
        assert sorted(values) == ["exact", "expected", "onnx_runtime", "reference"]
        np.testing.assert_array_equal(values["expected"], array)
        np.testing.assert_allclose(values["reference"], array, atol=1e-6)
        np.testing.assert_allclose(values["onnx_runtime"], array, atol=1e-6)
        assert {c.side for c in run[name].comparisons} == {"reference", "onnx_runtime", "expected"}
        assert all(c.agrees and c.metrics["max_abs"] < 1e-6 for c in run[name].comparisons)
    with pytest.raises(KeyError):
        run["other"]


def test_onnx_may_be_a_file_bytes_or_nothing(vit: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    p2o.convert(vit, file)
    for onnx in (file, str(file), file.read_bytes(), None):
        assert p2o.verify(vit, onnx, batch=1)
    other = p2o.convert(vit.parent / "ViT_base_patch32_384")
    with pytest.raises(p2o.Error):
        p2o.verify(vit, other, batch=1)


def test_inputs_may_be_an_array_a_file_or_several(vit: Path) -> None:
    inputs, _ = recorded(vit)
    (array,) = inputs.values()
    assert p2o.verify(vit, inputs=array)
    assert p2o.verify(vit, inputs=array.tolist() and np.asfortranarray(array.astype(">f4")))
    assert len(p2o.verify(vit, inputs=[array, inputs]).runs) == 2
    files = [vit / "batch1.npz", str(vit / "batch3.npz")]
    assert len(p2o.verify(vit, inputs=files, expected=files).runs) == 2
    with pytest.raises(TypeError, match="mixed"):
        p2o.verify(vit, inputs=[array, vit / "batch1.npz"])


def test_wrong_arrays_are_refused_by_name(vit: Path) -> None:
    inputs, expected = recorded(vit)
    ((name, array),) = inputs.items()
    for given, words in [
        ({name: array.astype("int64")}, [name, "int64", "astype"]),
        ({name: array[0]}, [name, "float32"]),
        ({"other": array}, ["other", name]),
        ({}, [name, "missing"]),
        ({name: array.astype("complex64")}, [name, "complex64"]),
    ]:
        with pytest.raises(p2o.Error) as raised:
            p2o.verify(vit, inputs=given)
        assert raised.value.kind == "invalid"
        for word in words:
            assert word in str(raised.value)
    with pytest.raises(TypeError, match=f"inputs\\['{name}'\\]"):
        p2o.verify(vit, inputs={name: np.array(["a"])})
    with pytest.raises(p2o.Error, match="2 sets of expected outputs"):
        p2o.verify(vit, inputs=inputs, expected=[expected, expected])
    with pytest.raises(ValueError, match="expected needs"):
        p2o.verify(vit, expected=expected)
    with pytest.raises(ValueError, match="distribution"):
        p2o.verify(vit, distribution="poisson")
    with pytest.raises(p2o.Error, match=r"ranges\[\"x\"\]"):
        p2o.verify(vit, ranges={"x": (1, 0)})


def test_a_difference_is_a_report_and_no_error(vit: Path) -> None:
    inputs, expected = recorded(vit)
    wrong = {name: array + np.float32(0.25) for name, array in expected.items()}
    report = p2o.verify(vit, inputs=inputs, expected=wrong)
    assert not report and report.verdict == "no_parity"
    assert "No parity" in repr(report)


def test_a_report_prints_as_the_command_does_and_shows_as_a_page(vit: Path) -> None:
    report = p2o.verify(vit, batch=(1, 2), seed=5)
    arguments = ["verify", str(vit), "--batch", "1,2", "--seed", "5"]
    command = subprocess.run([sys.executable, "-m", "paddle2onnx_rs", *arguments], capture_output=True, text=True)
    assert command.stdout == f"{report!r}\n"
    assert report.html.startswith("<!DOCTYPE html>")
    shown = report._repr_html_()
    assert shown.startswith("<iframe ") and "&lt;!DOCTYPE html&gt;" in shown
    assert [run["inputs"] for run in report.data["runs"]] == [run.inputs for run in report.runs]


def test_pictures_and_tolerances(vit: Path) -> None:
    pictures = sorted((FIXTURES / "images").glob("*.png"))[:1]
    half = (0.5, 0.5, 0.5)
    report = p2o.verify(vit, images=pictures, resize_short=40, mean=half, std=half, rtol=1e-4, atol=1e-5)
    assert report
    assert report.data["tolerance"] == {"atol": 1e-5, "rtol": 1e-4}
    assert report.data["runs"][0]["top"]


def test_progress_tells_each_step(vit: Path) -> None:
    steps = []

    class Bar:
        def __init__(self, **given: object) -> None:
            assert given["total"] is None

        def update(self, n: int = 1) -> None:
            pass

        def set_description(self, desc: object = None) -> None:
            steps.append(desc)

        def close(self) -> None:
            steps.append("closed")

    p2o.verify(vit, batch=2, progress=Bar)
    assert any("ONNX Runtime" in step for step in steps)
    assert steps[-1] == "closed"


def test_ctrl_c_ends_a_long_run(vit: Path) -> None:
    # Python's own handler raises KeyboardInterrupt.
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        p2o.verify(vit, batch=[2048] * 30)
    assert time.perf_counter() - start < 5


def test_it_works_beside_onnxruntime_itself(vit: Path) -> None:
    import onnxruntime

    model = p2o.convert(vit)
    session = onnxruntime.InferenceSession(model)
    inputs, _ = recorded(vit)
    outputs = session.run(None, inputs)
    report = p2o.verify(vit, model, inputs=inputs)
    (output,) = report.runs[0].outputs
    np.testing.assert_allclose(output.values["onnx_runtime"], outputs[0], atol=1e-6)
