"""The examples of both READMEs, word for word."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import FIXTURES

ROOT = FIXTURES.parent


def blocks(file: Path) -> "list[str]":
    """The blocks of Python in a file."""
    return re.findall(r"```python\n(.*?)```", file.read_text(), re.DOTALL)


@pytest.mark.parametrize("file", ["README.md", "python/README.md"])
def test_the_examples_run(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FIXTURES / "paddle-3.3.1/vit/ViT_base_patch16_224", tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    found = blocks(ROOT / file)
    assert found
    names: "dict[str, object]" = {}
    for block in found:
        exec(block, names)
    assert (tmp_path / "model.onnx").exists()


def test_the_quick_start_is_the_same_in_both() -> None:
    own, whole = (blocks(ROOT / file)[0] for file in ("python/README.md", "README.md"))
    code = [[line.split("#")[0].rstrip() for line in block.splitlines()] for block in (own, whole)]
    assert code[0] == code[1]
