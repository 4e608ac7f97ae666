"""One command from its options to its exit code."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

from .._decoding import available_codings
from .._version import __version__
from ..exceptions import HTTPError, InsecureRequestWarning
from . import build, errors, output
from .parser import parse
from .screen import stderr_screen, stdout_screen
from .text import one_line, size_text
from .watch import Watch

#: Bytes of a body from which on its upload is shown.
_WORTH_SHOWING = 1024 * 1024

_MARK_STYLES = {"*": "dim", ">": "cyan", "<": "green"}


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; errors are told on standard error.

    :param arguments: without the name of the program.
    """
    try:
        code = _guarded(arguments)
        sys.stdout.flush()  # now: at the end of the process, nobody could tell what went wrong
        return code
    except OSError as error:  # of standard output; others are told apart where they happen
        output.abandon_stdout()
        if output.is_closed_pipe(error):
            return errors.OK  # whoever reads us had enough, such as `head`
        _tell(f"urllib4: cannot write standard output: {error.strerror or error}")
        return errors.LOCAL_FILE


def _guarded(arguments: Sequence[str]) -> int:
    try:
        return _run(parse(arguments))
    except SystemExit as done:  # of --help
        return int(done.code or 0)
    except errors.CommandError as error:
        _tell(f"urllib4: {error}")
        return error.code
    except KeyboardInterrupt:
        _tell("urllib4: interrupted")
        return errors.INTERRUPTED


def _tell(message: str) -> None:
    screen = stderr_screen(plain=True)
    screen.line(one_line(message))


def _run(options: argparse.Namespace) -> int:
    if options.command == "demo":
        from .demo import run_demo

        return run_demo(stdout_screen(options.plain))
    if options.version:
        stdout_screen(plain=True).write(version_text())
        return errors.OK
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        if options.insecure:
            # Whoever says so knows; --verbose repeats it.
            warnings.simplefilter("ignore", InsecureRequestWarning)
        return _Command(options).run()


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _tell(f"urllib4: warning: {message}")


class _Command:
    """A request, from its preparation to the last byte of its answer."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._stdout = stdout_screen(options.plain)
        self._stderr = stderr_screen(options.plain)
        self._update: Callable[[int], None] | None = None
        self._watch: Watch | None = None
        if options.verbose:
            self._watch = Watch(self._narrate, show_secrets=options.show_secrets)

    def run(self) -> int:
        """Send the request, hand out the answer and return the exit code.

        :raises CommandError: that failed.
        """
        options = self._options
        with ExitStack() as stack:
            request = build.build_request(options, stack)
            manager = stack.enter_context(build.build_manager(options))
            if self._watch is not None:
                self._watch.attach(manager)
            path = build.remote_name(request.url) if options.remote_name else options.output
            try:
                if path is None or path == "-":
                    return self._show(self._send(request, manager, stack))
                return self._save(request, manager, path)
            except HTTPError as error:
                raise errors.of_request(error, request.url) from error

    def _send(self, request: build.Request, manager: Any, stack: ExitStack) -> Any:
        """Return the answer, its body unread.

        :raises CommandError: its status is one that ``--fail`` takes for an error.
        """
        options = self._options
        settings = {
            "headers": request.headers,
            "redirect": options.location,
            "retries": build.build_retry(options, self._watch),
            "timeout": build.build_timeout(options),
            "preload_content": False,
            # What is shown must be readable; what is stored stays as it is unless asked for.
            "decode_content": options.compressed or self._is_shown(),
            "on_download": self._report,
        }
        with ExitStack() as showing:
            settings["on_upload"] = self._upload_reporter(showing)
            if request.fields is not None:
                response = manager.request_encode_body(
                    request.method, request.url, fields=request.fields, **settings
                )
            else:
                response = manager.urlopen(
                    request.method, request.url, body=request.body, **settings
                )
        stack.enter_context(closing(response))
        if options.fail and response.status >= 400:
            reason = f" {response.reason}" if response.reason else ""
            raise errors.CommandError(
                errors.BAD_STATUS, f"{request.url}: status {response.status}{reason}"
            )
        return response

    def _upload_reporter(self, showing: ExitStack) -> Callable[[int, int | None], None] | None:
        """Return what shows how much of a large body was sent; None where nobody would see it."""
        screen = self._stderr
        if self._options.silent or not screen.is_terminal:
            return None
        update: Callable[[int], None] | None = None

        def report(count: int, total: int | None) -> None:
            nonlocal update
            if update is None and (total is None or total >= _WORTH_SHOWING):
                update = showing.enter_context(screen.progress(total))
            if update is not None:
                update(count)

        return report

    def _report(self, count: int, _: int | None) -> None:
        """Show how much of the body came, if there is something to show it."""
        if self._update is not None:
            self._update(count)

    def _is_shown(self) -> bool:
        if self._options.remote_name or self._options.output not in (None, "-"):
            return False
        return self._stdout.is_terminal

    # -- the answer ------------------------------------------------------------------------

    def _show(self, response: Any) -> int:
        """Hand the answer to standard output."""
        with_head = self._options.include or self._options.head
        if self._stdout.is_terminal:
            if with_head:
                output.show_head(response, self._stdout)
            why = output.show_content(response, self._pieces(response), self._stdout)
            if why is not None:
                self._tell(f"{why}; save it with -o FILE, or pipe it to a program")
                return errors.OK
        else:
            if with_head:
                output.write_stdout(output.head_bytes(response))
            for piece in self._pieces(response):
                output.write_stdout(piece)
        self._finish(response)
        return errors.OK

    def _save(self, request: build.Request, manager: Any, path: str) -> int:
        """Write the answer to a file, which is made first: nothing is sent in vain."""
        with output.saved_file(path) as file, ExitStack() as stack:
            response = self._send(request, manager, stack)
            if self._options.include or self._options.head:
                file.write(output.head_bytes(response))
            screen = self._stderr
            total = response.length_remaining
            if self._options.silent or not screen.is_terminal:
                output.write_pieces(self._pieces(response), file)
            else:
                with screen.progress(total) as update:
                    self._update = update
                    output.write_pieces(self._pieces(response), file)
            size = file.tell() if file.seekable() else response.tell()
        self._finish(response)
        if self._stderr.is_terminal:
            self._tell(f"saved {size_text(size)} in {path}")
        return errors.OK

    def _pieces(self, response: Any) -> Iterator[bytes]:
        """Yield content as soon as it comes: who watches an endless stream wants to see it."""
        while piece := response.read1(output.PIECE):
            yield piece
        if self._watch is not None:
            self._watch.received()

    def _finish(self, response: Any) -> None:
        if self._watch is not None:
            self._watch.finish(response.tell())

    # -- remarks ---------------------------------------------------------------------------

    def _tell(self, message: str) -> None:
        if not self._options.silent:
            self._stderr.line(one_line(message), "dim")

    def _narrate(self, mark: str, text: str) -> None:
        self._stderr.line(f"{mark} {one_line(text)}".rstrip(), _MARK_STYLES[mark])


def version_text() -> str:
    """Return the version, and what this installation can do."""
    python = ".".join(map(str, sys.version_info[:3]))
    try:
        import ssl

        tls = ssl.OPENSSL_VERSION
    except ImportError:
        tls = "no TLS"
    optional = [name for name in ("h2", "python_socks", "rich") if _is_installed(name)]
    return (
        f"urllib4 {__version__} (Python {python}, {tls})\n"
        f"content codings: {', '.join(available_codings())}\n"
        f"optional packages: {', '.join(optional) or 'none'}\n"
    )


def _is_installed(name: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # sys.modules says None: as good as missing
        return False
