"""Raises an exception at a chosen step of the library, as a signal handler may do at any time."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import urllib4

#: Where the interpreter never lets a signal handler run, and where CPython 3.11 gets confused by an
#: exception of a trace function: half-made calls, and the exceptional end of ``with``.
_NOT_THERE = frozenset(
    ("KW_NAMES", "PRECALL", "CALL", "CALL_FUNCTION_EX", "PUSH_EXC_INFO", "WITH_EXCEPT_START",
     "CHECK_EXC_MATCH", "POP_EXCEPT", "RERAISE", "COPY")
)  # fmt: skip

SOURCE = str(Path(urllib4.__file__).parent)


class Injector:
    """Counts the lines (or bytecodes) of the library that a function runs, and raises at one.

    Only the thread that calls is looked at.

    :param files: which files count, by the ends of their names; default: the whole package.
    :param opcodes: count bytecodes instead of lines.
    :ivar steps: how many there were in the last call.
    :ivar where: the line at which the exception was raised, None if it was not.
    """

    def __init__(self, files: Sequence[str] = (".py",), *, opcodes: bool = False) -> None:
        self._files = tuple(files)
        self._event = "opcode" if opcodes else "line"
        self._known: dict[str, bool] = {}
        self._possible: dict[CodeType, frozenset[int]] = {}
        self._at = 0
        self._error: BaseException | None = None
        self.steps = 0
        self.where: str | None = None

    def call(self, work: Callable[[], object], at: int, error: BaseException | None) -> None:
        """Call `work` and raise `error` at its step number `at`, from 1."""
        self.steps = 0
        self._at, self._error, self.where = at, error, None
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            work()
        finally:
            sys.settrace(before)
            self._error = None

    def count(self, work: Callable[[], object]) -> int:
        """Return how many steps `work` has."""
        self.call(work, 0, None)
        return self.steps

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        watched = self._known.get(name)
        if watched is None:
            watched = name.startswith(SOURCE) and name.endswith(self._files)
            self._known[name] = watched
        if not watched:
            return None
        frame.f_trace_opcodes = self._event == "opcode"
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == self._event and self._may_raise(frame):
            self.steps += 1
            if self.steps == self._at and self._error is not None:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                error, self._error = self._error, None
                raise error
        return self._step

    def _may_raise(self, frame: FrameType) -> bool:
        code = frame.f_code
        possible = self._possible.get(code)
        if possible is None:
            possible = self._possible[code] = frozenset(
                instruction.offset
                for instruction in dis.get_instructions(code)
                if instruction.opname not in _NOT_THERE
            )
        return frame.f_lasti in possible
