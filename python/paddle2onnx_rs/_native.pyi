"""The extension, which `python/src/` defines. The other files of the package call it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

__all__ = [
    "DEFAULT_OPSET",
    "Error",
    "__version__",
    "check",
    "convert",
    "inspect",
    "lowest_opset",
    "main",
    "ops",
    "refuse_backend",
    "verify",
]

__version__: str
DEFAULT_OPSET: int

class Error(Exception):
    """Why something could not be done: a sentence or two."""

    kind: str
    """`malformed`, `unsupported`, `invalid`, `io` or `internal`."""
    path: Optional[str]
    """The file that it concerns."""
    op: Optional[str]
    """The op that it concerns, with its position and layer."""
    needed_opset: Optional[int]
    """The lowest opset at which the reason would be gone, if there is one."""

# The name, the element type, the shape, and the elements in row-major order, little-endian.
_Array = tuple[str, str, Sequence[int], bytes]

def main(arguments: Sequence[str], program: Sequence[str]) -> int: ...
def inspect(reading: Mapping[str, Any]) -> tuple[str, str]: ...
def check(reading: Mapping[str, Any], opset: int) -> tuple[str, str]: ...
def ops() -> tuple[str, str]: ...
def refuse_backend(reading: Mapping[str, Any], backend: str) -> None: ...
def lowest_opset(reading: Mapping[str, Any]) -> int: ...
def convert(
    reading: Mapping[str, Any],
    how: Mapping[str, Any],
    progress: Optional[Callable[[int, int], object]],
) -> list[str]: ...
def verify(
    reading: Mapping[str, Any],
    comparing: Mapping[str, Any],
    progress: Optional[Callable[[str], object]],
) -> tuple[bool, str, str, str, list[list[list[_Array]]]]: ...
