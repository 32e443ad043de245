"""`inspect`, `check` and `ops`: what a model consists of, and what can be converted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from . import _native
from ._arguments import Path, Shape, reading


@dataclass(frozen=True)
class Port:
    """An input or an output."""

    name: str
    dtype: str
    #: Numbers, names of extents that the inputs of a run set, and None for extents that are computed or not known.
    shape: tuple[Union[int, str, None], ...]


@dataclass(frozen=True)
class OpCount:
    """How often an op occurs, and whether it can be converted."""

    name: str
    count: int
    supported: bool


@dataclass(frozen=True, repr=False)
class Inspection:
    """What a model consists of. Printed, it is what `paddle2onnx-rs inspect` prints."""

    #: "PIR" or "ProgramDesc".
    format: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    ops: tuple[OpCount, ...]
    #: The number of elements of all weights.
    parameters: int
    #: All that the command prints with --json.
    data: Mapping[str, Any] = field(compare=False)
    _text: str = field(compare=False)

    def __repr__(self) -> str:
        return self._text.rstrip()


@dataclass(frozen=True)
class Obstacle:
    """A reason why ops of one kind can't be converted."""

    op: str
    reason: str
    #: The lowest opset in which this reason is gone, if there is one.
    needed_opset: Optional[int]
    places: tuple[str, ...]


@dataclass(frozen=True)
class Remark:
    """Where the ONNX model is not in every respect what the program is."""

    op: str
    text: str
    places: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Check:
    """What stands in the way of a conversion. True if nothing does."""

    convertible: bool
    opset: int
    obstacles: tuple[Obstacle, ...]
    notes: tuple[Remark, ...]
    #: What is missing of the weights, without which nothing can be written, and what to do.
    missing_weights: Optional[str]
    _text: str = field(compare=False)

    def __bool__(self) -> bool:
        return self.convertible

    def __repr__(self) -> str:
        return self._text.rstrip()


@dataclass(frozen=True)
class SupportedOp:
    """An op that can be converted."""

    #: The name in Paddle 3.
    name: str
    #: The names in older programs.
    legacy: tuple[str, ...]
    #: The names in programs of Paddle 3.
    pir: tuple[str, ...]
    #: The lowest opset.
    opset: int
    #: The element types of the first operand.
    dtypes: tuple[str, ...]
    #: What is not supported.
    limits: tuple[str, ...]


def inspect(
    model: Path,
    *,
    params: Optional[Path] = None,
    custom_ops: Optional[Mapping[str, str]] = None,
    outputs: Optional[Sequence[str]] = None,
    inputs_at: Optional[Sequence[str]] = None,
    input_shapes: Optional[Mapping[str, Shape]] = None,
    rename: Optional[Mapping[str, str]] = None,
) -> Inspection:
    """Tells what a model consists of. The weights may be missing. The arguments are those of `convert`."""
    which = reading(model, params, custom_ops, outputs, inputs_at, input_shapes, rename)
    text, printed = _native.inspect(which)
    data = json.loads(printed)
    return Inspection(
        format=data["format"],
        inputs=tuple(_port(port) for port in data["inputs"]),
        outputs=tuple(_port(port) for port in data["outputs"]),
        ops=tuple(OpCount(**op) for op in data["ops"]),
        parameters=data["parameters"],
        data=data,
        _text=text,
    )


def _port(data: Mapping[str, Any]) -> Port:
    return Port(data["name"], data["dtype"], tuple(data["shape"]))


def check(
    model: Path,
    *,
    params: Optional[Path] = None,
    opset: int = _native.DEFAULT_OPSET,
    custom_ops: Optional[Mapping[str, str]] = None,
    outputs: Optional[Sequence[str]] = None,
    inputs_at: Optional[Sequence[str]] = None,
    input_shapes: Optional[Mapping[str, Shape]] = None,
    rename: Optional[Mapping[str, str]] = None,
) -> Check:
    """Tells what stands in the way of a conversion, and writes nothing. The arguments are those of `convert`."""
    which = reading(model, params, custom_ops, outputs, inputs_at, input_shapes, rename)
    text, printed = _native.check(which, opset)
    data = json.loads(printed)
    return Check(
        convertible=data["convertible"],
        opset=data["opset"],
        obstacles=tuple(
            Obstacle(o["op"], o["reason"], o["needed_opset"], tuple(o["places"])) for o in data["obstacles"]
        ),
        notes=tuple(Remark(n["op"], n["text"], tuple(n["places"])) for n in data["notes"]),
        missing_weights=data["missing_weights"],
        _text=text,
    )


def ops() -> list[SupportedOp]:
    """The ops that can be converted, sorted by name."""
    _, printed = _native.ops()
    return [
        SupportedOp(
            name=op["name"],
            legacy=tuple(op["legacy"]),
            pir=tuple(op["pir"]),
            opset=op["opset"],
            dtypes=tuple(op["dtypes"]),
            limits=tuple(op["limits"]),
        )
        for op in json.loads(printed)
    ]
