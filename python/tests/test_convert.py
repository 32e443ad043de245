"""`convert`, `inspect`, `check` and `ops`."""

import hashlib
import os
import shutil
import threading
import time
import warnings
from pathlib import Path

import onnx
import pytest
from conftest import FIXTURES

import paddle2onnx_rs as p2o


def test_a_file_is_written_or_the_same_bytes_are_returned(vit: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    assert p2o.convert(vit, file) is None
    model = p2o.convert(str(vit))
    assert model == file.read_bytes()
    onnx.checker.check_model(model, full_check=True)
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_the_options_are_those_of_the_command(vit: Path, tmp_path: Path) -> None:
    onnx_file = tmp_path / "model.onnx"
    p2o.convert(vit, onnx_file, opset=13, weights="external")
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "model.onnx.data"]
    model = onnx.load(onnx_file)
    assert model.opset_import[0].version == 13
    with pytest.raises(ValueError, match="weights='external'"):
        p2o.convert(vit, weights="external")
    with pytest.raises(p2o.Error, match="weights=\"beside\""):
        p2o.convert(vit, onnx_file, weights="beside")
    with pytest.raises(TypeError, match="outputs='logits'"):
        p2o.convert(vit, outputs="logits")
    with pytest.raises(TypeError, match="opset='13'"):
        p2o.convert(vit, opset="13")


def test_half_precision_halves_the_file(vit: Path) -> None:
    whole, half = p2o.convert(vit), p2o.convert(vit, dtype="float16", io_dtype="float16", keep_f32=["gelu"])
    model = onnx.load_from_string(half)
    onnx.checker.check_model(model, full_check=True)
    types = {port.type.tensor_type.elem_type for port in [*model.graph.input, *model.graph.output]}
    assert types == {onnx.TensorProto.FLOAT16}
    assert len(half) < 0.65 * len(whole)
    with pytest.raises(p2o.Error, match="no half precision"):
        p2o.convert(vit, dtype="float64")
    with pytest.raises(p2o.Error, match="`no_such_op`"):
        p2o.convert(vit, dtype="float16", keep_f32=["no_such_op"])


def test_opsets_and_versions_of_the_format_are_chosen(vit: Path, tmp_path: Path) -> None:
    def versions(**options: object) -> tuple[int, int]:
        model = onnx.load_from_string(p2o.convert(vit, **options))
        return model.opset_import[0].version, model.ir_version

    assert versions() == (17, 8)
    assert versions(opset="auto") == (9, 4)
    assert versions(opset="auto", ir_version=8) == (9, 8)
    with pytest.raises(p2o.Error, match="IR version 7 is too low: a model of opset 17 needs 8"):
        p2o.convert(vit, ir_version=7)
    # With all shapes known, the runtime has nothing to be warned of.
    shapes = {"x": (1, 3, 32, 32)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert versions(target="rknn", input_shapes=shapes) == (19, 9)
        assert versions(target="rknn", input_shapes=shapes, opset=17) == (17, 8)
    with pytest.warns(p2o.Note, match="--input-shape x=…,3,32,32"):
        p2o.convert(vit, target="rknn")
    model = onnx.load_from_string(p2o.convert(vit, target="onnxruntime"))
    assert "com.microsoft" in [operators.domain for operators in model.opset_import]
    with pytest.raises(p2o.Error, match="no target is called"):
        p2o.convert(vit, target="rk")


def test_metadata_say_where_a_model_comes_from(vit: Path, tmp_path: Path) -> None:
    model = shutil.copytree(vit, tmp_path / "copy")
    (model / "inference.yml").write_text("label_list: [cat, dog]\n")
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(p2o.convert(model)).metadata_props}
    assert metadata["names"] == "{0: 'cat', 1: 'dog'}"
    (program,) = [*model.glob("*.pdmodel"), *model.glob("inference.json")]
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    assert metadata["paddle.program_sha256"] == digest
    (model / "inference.yml").write_bytes(b"\xff")
    with pytest.warns(p2o.Note, match="without the settings"):
        p2o.convert(model)


def test_inputs_and_outputs_get_other_shapes_and_names(vit: Path) -> None:
    (output,) = p2o.inspect(vit).outputs
    given = {"input_shapes": {"x": (2, 3, 32, "width")}, "rename": {"x": "image", output.name: "logits"}}
    found = p2o.inspect(vit, **given)
    assert [(port.name, port.shape) for port in found.inputs] == [("image", (2, 3, 32, "width"))]
    model = onnx.load_from_string(p2o.convert(vit, input_shapes={"x": (2, 3, 32, 32)}, rename=given["rename"]))
    assert [port.name for port in model.graph.output] == ["logits"]
    with pytest.raises(p2o.Error, match="`y`"):
        p2o.check(vit, rename={"y": "z"})
    with pytest.raises(p2o.Error, match=r"input_shapes\[\"x\"\]: an extent of -1"):
        p2o.check(vit, input_shapes={"x": (-1, 3)})


def test_an_error_says_what_and_where(vit: Path, tmp_path: Path) -> None:
    with pytest.raises(p2o.Error) as raised:
        p2o.convert(tmp_path / "none.pdmodel", tmp_path / "model.onnx")
    assert raised.value.kind == "io"
    assert raised.value.path == str(tmp_path / "none.pdmodel")
    with pytest.raises(p2o.Error, match="opset") as raised:
        p2o.convert(vit, tmp_path / "model.onnx", opset=99)
    assert raised.value.kind in ("invalid", "unsupported")
    assert raised.value.needed_opset is None
    copy = shutil.copytree(vit, tmp_path / "copy")
    weights = copy / "inference.pdiparams"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(p2o.Error) as raised:
        p2o.convert(copy)
    assert raised.value.kind == "malformed"
    assert raised.value.path == str(weights)
    assert os.listdir(tmp_path) == ["copy"]


def test_notes_are_warnings_at_the_call(tmp_path: Path) -> None:
    model = FIXTURES / "paddle-3.3.1/control_flow/masked"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        p2o.convert(model, tmp_path / "model.onnx")
        p2o.convert(model)
    assert len(caught) == 2 * len(p2o.check(model).notes) > 0
    assert {warning.category for warning in caught} == {p2o.Note}
    assert {warning.filename for warning in caught} == {__file__}


class Bar:
    """A bar that notes what it is told."""

    made: "list[Bar]" = []

    def __init__(self, total: object = None, desc: object = None, **more: object) -> None:
        self.total, self.desc, self.done, self.closed = total, desc, 0, False
        Bar.made.append(self)

    def update(self, n: int = 1) -> None:
        self.done += n

    def set_description(self, desc: object = None) -> None:
        self.desc = desc

    def close(self) -> None:
        self.closed = True


def test_progress_is_shown_as_tqdm_does(vit: Path, tmp_path: Path) -> None:
    from tqdm import tqdm

    Bar.made = []
    p2o.convert(vit, tmp_path / "model.onnx", progress=Bar)
    (bar,) = Bar.made
    size = (tmp_path / "model.onnx").stat().st_size
    assert (bar.total, bar.done, bar.closed) == (size, size, True)
    with open(tmp_path / "bar", "w") as file:
        p2o.convert(vit, progress=lambda **given: tqdm(**given, file=file))
    assert "100%" in (tmp_path / "bar").read_text()


def test_an_exception_of_the_progress_ends_the_conversion(vit: Path, tmp_path: Path) -> None:
    class Broken(Bar):
        def update(self, n: int = 1) -> None:
            raise RuntimeError("enough")

    Bar.made = []
    with pytest.raises(RuntimeError, match="enough"):
        p2o.convert(vit, tmp_path / "model.onnx", progress=Broken)
    assert Bar.made[0].closed


def test_inspection_prints_as_the_command_does(vit: Path) -> None:
    found = p2o.inspect(vit)
    assert found.format == ("PIR" if "3.3.1" in str(vit) else "ProgramDesc")
    (port,) = found.inputs
    assert (port.name, port.dtype, port.shape) == ("x", "float32", ("batch", 3, 32, 32))
    assert all(op.supported for op in found.ops)
    assert found.data["parameters"] == found.parameters > 0
    lines = repr(found).splitlines()
    assert lines[0].startswith("Format ")
    assert "\x1b" not in repr(found)


def test_check_is_true_if_nothing_stands_in_the_way(vit: Path) -> None:
    found = p2o.check(vit, opset=11)
    assert found and found.convertible and found.opset == 11
    assert repr(found) == "Nothing stands in the way of opset 11"
    custom = FIXTURES / "paddle-2.6.2/custom_op/single"
    found = p2o.check(custom)
    assert not found
    (obstacle,) = found.obstacles
    assert obstacle.op in repr(found)
    name = obstacle.op.removeprefix("custom_op.")
    assert p2o.check(custom, custom_ops={name: "com.example::Other"})


def test_ops_lists_what_the_command_lists() -> None:
    ops = {op.name: op for op in p2o.ops()}
    assert len(ops) > 300
    assert "elementwise_add" in ops["add"].legacy
    assert ops["add"].opset == 7
    assert "float32" in ops["add"].dtypes


def test_other_threads_run_meanwhile(vit: Path) -> None:
    longest = 0.0
    running = True

    def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        while running:
            time.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    p2o.verify(vit, batch=[512] * 8)
    took = time.perf_counter() - start
    running = False
    thread.join()
    assert longest < took / 2, (longest, took)
