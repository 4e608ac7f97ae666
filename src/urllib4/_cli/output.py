"""Where the content of an answer goes: a file, whoever reads our output, or a person's eyes."""

from __future__ import annotations

import codecs
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from itertools import chain
from typing import Any, BinaryIO

from .errors import local_file
from .screen import Screen
from .text import TextDecoder, indented_json, size_text
from .watch import status_line

#: Bytes that are read at a time.
PIECE = 64 * 1024
#: Longest content that is indented or highlighted, in bytes; longer one is shown as it comes.
_PRETTY_BYTES = 1024 * 1024
#: How much of content without a useful type is looked at, in bytes.
_SNIFFED_BYTES = 4096

#: What Pygments calls the languages of these types; JSON is indented, too.
_LEXERS = {
    "application/javascript": "javascript",
    "application/toml": "toml",
    "application/xhtml+xml": "html",
    "application/xml": "xml",
    "application/yaml": "yaml",
    "text/css": "css",
    "text/html": "html",
    "text/javascript": "javascript",
    "text/markdown": "markdown",
    "text/xml": "xml",
}
_BINARY_FAMILIES = ("image/", "audio/", "video/", "font/")
_BINARY_TYPES = ("application/pdf", "application/zip", "application/gzip")


# -- a file ------------------------------------------------------------------------------------


@contextmanager
def saved_file(path: str) -> Iterator[BinaryIO]:
    """Give a file to write, which becomes `path` when the block ends without an error.

    Until then it has a name of its own beside `path`; after an error nothing is left.  What is
    no regular file (a device, a pipe) is written directly.

    :raises CommandError: it cannot be written.
    """
    target = os.path.realpath(path)  # a link stays one, what it leads to is replaced
    try:
        direct = os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode)
        part = target if direct else f"{target}.{secrets.token_hex(4)}.part"
        # "x" gives the file the permissions that any new one has.
        file = open(part, "wb" if direct else "xb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise local_file(f"write {path}", error) from error
    try:
        with file:
            yield file
        if not direct:
            _replace(part, target)
    except BaseException as error:
        if not direct:
            with suppress(OSError):
                os.unlink(part)
        if isinstance(error, OSError):
            raise local_file(f"write {path}", error) from error
        raise


def _replace(part: str, target: str) -> None:
    with suppress(OSError):
        os.chmod(part, stat.S_IMODE(os.stat(target).st_mode))
    os.replace(part, target)


def write_pieces(
    pieces: Iterable[bytes], file: BinaryIO, update: Callable[[], None] = lambda: None
) -> None:
    """Write content as it comes, calling `update` after each piece."""
    for piece in pieces:
        file.write(piece)
        update()


# -- standard output that nobody looks at --------------------------------------------------------


def write_stdout(data: bytes) -> None:
    """Write all of `data` now, unchanged: whoever reads us may want to see it before the end.

    :raises OSError: it cannot be written, or nobody reads it any more.
    """
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def is_closed_pipe(error: OSError) -> bool:
    """Tell whether `error` says that nobody reads our output; Windows says so with EINVAL."""
    if isinstance(error, BrokenPipeError):
        return True
    return os.name == "nt" and error.errno == errno.EINVAL


def abandon_stdout() -> None:
    """Let the interpreter's last flush go nowhere, instead of complaining about the pipe."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def head_bytes(response: Any) -> bytes:
    """Return the head of an answer as it may be stored."""
    lines = [status_line(response)]
    lines += [f"{name}: {value}" for name, value in response.headers.iteritems()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


# -- a terminal ----------------------------------------------------------------------------------


def show_head(response: Any, screen: Screen) -> None:
    """Show the head of an answer to a person."""
    screen.line(status_line(response), status_style(response.status))
    for name, value in response.headers.iteritems():
        screen.write(f"{name}: ", "cyan")
        screen.line(value)
    screen.line("")


def status_style(status: int) -> str:
    """Return the colour of a status."""
    return "bold green" if status < 300 else "bold yellow" if status < 400 else "bold red"


def show_content(response: Any, pieces: Iterator[bytes], screen: Screen) -> str | None:
    """Show content to a person: JSON indented, known languages coloured, text as it comes.

    :returns: why it is not shown, if it is binary; then the rest is left unread.
    """
    first = next(pieces, b"")
    media_type, charset = _type_of(response)
    if is_binary(media_type, charset, first):
        length = response.headers.get("content-length", "")
        size = f", {size_text(int(length))}" if length.isdigit() and len(length) < 19 else ""
        return f"binary content ({media_type or 'no type'}{size}) is not shown on a terminal"
    decoder = TextDecoder(charset or "utf-8")
    rest = chain([first], pieces)
    is_json = media_type == "application/json" or media_type.endswith("+json")
    lexer = "json" if is_json else _LEXERS.get(media_type)
    if lexer is None or (lexer != "json" and not screen.is_rich):
        _show_text(rest, decoder, screen)
        return None
    text, complete = _collect(rest, decoder)
    if not complete:
        screen.write(text)
        _show_text(rest, decoder, screen, text[-1:])
    else:
        _show_code(text, lexer, screen)
    return None


def _show_text(
    pieces: Iterable[bytes], decoder: TextDecoder, screen: Screen, last: str = "\n"
) -> None:
    """Write text as it comes; the prompt of the shell gets a line of its own."""
    for piece in pieces:
        text = decoder.feed(piece)
        screen.write(text)
        last = text[-1:] or last
    text = decoder.finish()
    screen.write(text)
    if (text[-1:] or last) != "\n":
        screen.write("\n")


def _collect(pieces: Iterator[bytes], decoder: TextDecoder) -> tuple[str, bool]:
    """Return the text, and whether it is all there: content too long to wait for is not."""
    texts = []
    size = 0
    for piece in pieces:
        texts.append(decoder.feed(piece))
        size += len(piece)
        if size > _PRETTY_BYTES:
            return "".join(texts), False
    texts.append(decoder.finish())
    return "".join(texts), True


def _show_code(text: str, lexer: str, screen: Screen) -> None:
    if lexer == "json":
        with suppress(ValueError):  # says that it is JSON, but is not: shown as it came
            text = indented_json(text)
    text = text.rstrip("\n")
    if text:
        screen.code(f"{text}\n", lexer)


def _type_of(response: Any) -> tuple[str, str | None]:
    """Return media type and charset, lower-cased, of what the Content-Type says."""
    message = Message()
    message["content-type"] = response.headers.get("content-type", "")
    media_type = message.get_content_type() if message["content-type"] else ""
    return media_type, message.get_content_charset()


def is_binary(media_type: str, charset: str | None, first: bytes) -> bool:
    """Tell whether content is nothing to read.

    :param first: its beginning, which decides where the type says nothing.
    """
    if charset is not None and media_type.startswith("text/"):
        return False
    if media_type in _BINARY_TYPES or (
        media_type.startswith(_BINARY_FAMILIES) and not media_type.endswith("+xml")
    ):
        return True
    sniffed = first[:_SNIFFED_BYTES]
    if b"\0" in sniffed:
        return True
    if media_type.startswith("text/"):
        return False
    try:
        # A character that is cut in two at the end of what we look at is no sign.
        codecs.getincrementaldecoder("utf-8")().decode(sniffed)
    except UnicodeDecodeError:
        return True
    return False
