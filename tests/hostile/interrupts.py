"""Raises an exception at a chosen step of the library, as a signal handler may do at any time."""

from __future__ import annotations

import dis
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, TracebackType

import urllib4
from tests.hostile.steps import make_steps

#: Where the interpreter never lets a signal handler run, and where CPython 3.11 gets confused by an
#: exception of a trace function: half-made calls, and the exceptional end of ``with``.
_NOT_THERE = frozenset(
    ("KW_NAMES", "PRECALL", "CALL", "CALL_KW", "CALL_FUNCTION_EX", "PUSH_EXC_INFO",
     "WITH_EXCEPT_START", "CHECK_EXC_MATCH", "POP_EXCEPT", "POP_BLOCK", "RERAISE", "COPY")
)  # fmt: skip


class Injector:
    """Counts the lines (or bytecodes) of the library that a function runs, and raises at one.

    Only the thread that calls is looked at.

    :param files: which files count, by the ends of their names below the package; default: all.
    :param opcodes: count bytecodes instead of lines.
    :ivar steps: how many there were in the last call.
    :ivar where: the line at which the exception was raised, None if it was not.
    """

    def __init__(self, files: Sequence[str] | None = None, *, opcodes: bool = False) -> None:
        self._steps = make_steps(self._take, files or _all_files(), opcodes=opcodes)
        self._possible: dict[CodeType, frozenset[int]] = {}
        self._at = 0
        # Not in a variable of the frame that raises it: the two would keep each other alive.
        self._errors: list[BaseException] = []
        self.steps = 0
        self.where: str | None = None

    def __enter__(self) -> Injector:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._steps.close()

    def call(self, work: Callable[[], object], at: int, error: BaseException | None) -> None:
        """Call `work` and raise `error` at its step number `at`, from 1."""
        self.steps = 0
        self._at, self.where = at, None
        self._errors = [] if error is None else [error]
        del error
        self._steps.start()
        try:
            work()
        finally:
            self._steps.stop()
            self._errors.clear()

    def count(self, work: Callable[[], object]) -> int:
        """Return how many steps `work` has."""
        self._steps.prepare()
        self.call(work, 0, None)
        return self.steps

    def _take(self, code: CodeType, offset: int, line: int) -> None:
        possible = self._possible.get(code)
        if possible is None:
            possible = self._possible[code] = _places(code)
        if offset not in possible:
            return
        self.steps += 1
        if self.steps == self._at and self._errors:
            self.where = f"{Path(code.co_filename).name}:{line}"
            raise self._errors.pop()


def _all_files() -> tuple[str, ...]:
    """Return the names of all files of the package."""
    return tuple(str(path) for path in Path(urllib4.__file__).parent.rglob("*.py"))


def _places(code: CodeType) -> frozenset[int]:
    """Return the offsets of the instructions at which an exception may come from outside."""
    instructions = list(dis.get_instructions(code))
    places = {one.offset for one in instructions if one.opname not in _NOT_THERE}
    # The regular end of ``with``: nothing can come between the block and the call of __exit__.
    for at in range(len(instructions) - 2):
        end = instructions[at : at + 3]
        if all(one.opname == "LOAD_CONST" and one.argval is None for one in end) or [
            one.opname for one in end
        ] == ["LOAD_CONST", "DUP_TOP", "DUP_TOP"]:
            # Up to the call itself, which 3.10 makes by an instruction of many uses.
            places.difference_update(one.offset for one in instructions[at : at + 4])
            if instructions[at - 1].opname in ("SWAP", "ROT_TWO"):  # `return` inside ``with``
                places.discard(instructions[at - 1].offset)
    return frozenset(places)
