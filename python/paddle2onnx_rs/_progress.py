"""Progress bars in the manner of tqdm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional, Protocol


class Bar(Protocol):
    """What is used of a progress bar."""

    total: Any

    def update(self, n: float = 1) -> object: ...
    def set_description(self, desc: Optional[str] = None) -> object: ...
    def close(self) -> object: ...


#: Makes a progress bar. `tqdm.tqdm` and its like do, and so does any function with these keyword arguments.
Progress = Callable[..., Bar]


@contextmanager
def by_bytes(progress: Optional[Progress], desc: str) -> Iterator[Optional[Callable[[int, int], None]]]:
    """A function that is told how many bytes of how many are done."""
    if progress is None:
        yield None
        return
    bar = progress(total=None, desc=desc, unit="B", unit_scale=True)
    done = 0

    def step(now: int, total: int) -> None:
        nonlocal done
        bar.total = total
        bar.update(now - done)
        done = now

    try:
        yield step
    finally:
        bar.close()


@contextmanager
def by_steps(progress: Optional[Progress], desc: str) -> Iterator[Optional[Callable[[str], None]]]:
    """A function that is told what is being done now. How many steps there are is not known."""
    if progress is None:
        yield None
        return
    bar = progress(total=None, desc=desc, unit=" steps")

    def say(step: str) -> None:
        bar.set_description(step)
        bar.update(1)

    try:
        yield say
    finally:
        bar.close()
