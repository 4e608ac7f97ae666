"""Calls a function before each line, or each bytecode, of chosen files.

Until Python 3.11 by ``sys.settrace``, from 3.12 on by ``sys.monitoring``: there, ``settrace``
reports the bytecodes of a function only from a later call on, so that the same work has another
number of steps each time.  Steps that cannot be counted cannot be tried one by one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from types import CodeType, FrameType
from typing import Any

from tests.frozen import all_code

#: Called with the code that runs, the offset of the instruction that comes next, and its line.
Step = Callable[[CodeType, int, int], None]


class Steps:
    """Calls `step` in the threads that asked for it.

    What it raises is raised at that step.  What it calls itself has no steps.

    :param files: endings of the names of the files whose steps count.
    :param opcodes: count bytecodes instead of lines.
    """

    def __init__(self, step: Step, files: Sequence[str], *, opcodes: bool) -> None:
        self.files = tuple(files)
        self.opcodes = opcodes
        self._step = step

    def prepare(self) -> None:
        """Know the code of all modules that are imported now, so that each call is the same."""

    def start(self) -> None:
        """Call the function in this thread from now on."""
        raise NotImplementedError

    def stop(self) -> None:
        """Leave this thread alone."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave all code as it was."""


class _Traced(Steps):
    """By ``sys.settrace``."""

    def __init__(self, step: Step, files: Sequence[str], *, opcodes: bool) -> None:
        super().__init__(step, files, opcodes=opcodes)
        self._event = "opcode" if opcodes else "line"
        self._known: dict[str, bool] = {}
        # Made once and kept: the interpreter lets go of a trace function that raises too early.
        self._tracer, self._stepper = self._trace, self._take
        self._before: dict[int, Any] = {}

    def prepare(self) -> None:
        self._known.clear()

    def start(self) -> None:
        self._before[threading.get_ident()] = sys.gettrace()
        sys.settrace(self._tracer)

    def stop(self) -> None:
        sys.settrace(self._before.pop(threading.get_ident(), None))

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        watched = self._known.get(name)
        if watched is None:
            watched = self._known[name] = name.endswith(self.files)
        if not watched:
            return None
        frame.f_trace_opcodes = self.opcodes
        return self._stepper

    def _take(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == self._event:
            self._step(frame.f_code, frame.f_lasti, frame.f_lineno)
        return self._stepper


class _Monitored(Steps):
    """By ``sys.monitoring`` (PEP 669)."""

    #: One of those that no kind of tool has reserved.
    _TOOL = 4

    def __init__(self, step: Step, files: Sequence[str], *, opcodes: bool) -> None:
        super().__init__(step, files, opcodes=opcodes)
        self._monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
        events = self._monitoring.events
        self._event = events.INSTRUCTION if opcodes else events.LINE
        self._codes: set[CodeType] = set()
        self._threads: set[int] = set()
        self._busy: set[int] = set()
        self._monitoring.use_tool_id(self._TOOL, "steps")
        self._monitoring.register_callback(
            self._TOOL, self._event, self._at_bytecode if opcodes else self._at_line
        )

    def prepare(self) -> None:
        wanted = _codes_of(self.files)
        for code in wanted ^ self._codes:
            event = self._event if code in wanted else 0
            self._monitoring.set_local_events(self._TOOL, code, event)
        self._codes = wanted

    def start(self) -> None:
        if not self._codes:
            self.prepare()
        self._threads.add(threading.get_ident())

    def stop(self) -> None:
        self._threads.discard(threading.get_ident())

    def close(self) -> None:
        for code in self._codes:
            self._monitoring.set_local_events(self._TOOL, code, 0)
        self._codes.clear()
        self._monitoring.register_callback(self._TOOL, self._event, None)
        self._monitoring.free_tool_id(self._TOOL)

    def _at_bytecode(self, code: CodeType, offset: int) -> None:
        me = threading.get_ident()
        if me in self._threads and me not in self._busy:
            self._take(me, code, offset, sys._getframe(1).f_lineno)

    def _at_line(self, code: CodeType, line: int) -> None:
        me = threading.get_ident()
        if me in self._threads and me not in self._busy:
            self._take(me, code, sys._getframe(1).f_lasti, line)

    def _take(self, me: int, code: CodeType, offset: int, line: int) -> None:
        self._busy.add(me)
        try:
            self._step(code, offset, line)
        finally:
            self._busy.discard(me)


def _codes_of(files: tuple[str, ...]) -> set[CodeType]:
    """Return the code of all functions there are that stands in such files."""
    found: set[CodeType] = set()
    todo = [code for code in all_code() if code.co_filename.endswith(files)]
    while todo:
        code = todo.pop()
        if code not in found:
            found.add(code)
            todo += _inner(code.co_consts)
    return found


def _inner(constants: Iterable[Any]) -> list[CodeType]:
    return [one for one in constants if isinstance(one, CodeType)]


def make_steps(step: Step, files: Sequence[str], *, opcodes: bool = False) -> Steps:
    """Return what calls `step` on this Python."""
    kind = _Monitored if sys.version_info >= (3, 12) else _Traced
    return kind(step, files, opcodes=opcodes)
