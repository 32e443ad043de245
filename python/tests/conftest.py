"""What the tests share. They run against the installed package, and need `pip install onnxruntime pytest tqdm`."""

from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.fixture(params=["paddle-2.6.2", "paddle-3.3.1"])
def vit(request: pytest.FixtureRequest) -> Path:
    """One of PaddleClas' vision transformers, cut small, in either format."""
    return FIXTURES / request.param / "vit/ViT_base_patch16_224"
