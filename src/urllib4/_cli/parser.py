"""The options of the command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from .errors import CommandError, usage

#: Redirects that are followed.
MAX_REDIRECTS = 20
#: Seconds for connecting and for each wait for the server.
TIMEOUT = 30.0

_EPILOG = """\
examples:
  urllib4 https://example.org/                        show a page
  urllib4 -v https://example.org/                     ... and what happens on the way
  urllib4 --json '{"name": "tea"}' URL                send JSON
  urllib4 -d 'q=tea&n=2' URL                          send a form (also @file, or @- for stdin)
  urllib4 -F title=Me -F 'photo=@me.jpg' URL          upload a file
  urllib4 -o page.html URL                            save the answer, with a progress bar
  urllib4 -u ann https://example.org/private          ask for ann's password
  urllib4 --retry 3 --timeout 5 --fail URL            for scripts

exit codes:
  0 ok                       4 TLS failed, such as a bad certificate
  1 status >= 400 (--fail)   5 timeout
  2 wrong usage              6 broken off, not HTTP, too many redirects, ...
  3 could not connect        7 a local file cannot be read or written
  130 interrupted

'urllib4 demo' shows what the library does; it needs no network.
"""

_DEMO_TEXT = """\
Start a small server on this machine, and show requests of several threads over few connections,
a retry with back-off, a redirect, a gzip answer, a streamed download and a multipart upload.
"""


class _Parser(argparse.ArgumentParser):
    """Raises instead of ending the process."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise usage(f"{message} (see {self.prog} --help)")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; ``options.command`` is ``"request"`` or ``"demo"``.

    :raises CommandError: they cannot be understood.
    :raises SystemExit: help was asked for, and printed.
    """
    if arguments and arguments[0] == "demo":
        return demo_parser().parse_args(arguments[1:])
    options = request_parser().parse_args(arguments)
    _check(options)
    return options


def demo_parser() -> argparse.ArgumentParser:
    """Return the parser of ``urllib4 demo``."""
    parser = _Parser(prog="urllib4 demo", description=_DEMO_TEXT, allow_abbrev=False)
    parser.set_defaults(command="demo")
    parser.add_argument("--plain", action="store_true", help="no colours")
    return parser


def request_parser() -> argparse.ArgumentParser:
    """Return the parser of ``urllib4 URL``."""
    parser = _Parser(
        prog="urllib4",
        usage="urllib4 [options] URL\n       urllib4 demo",
        description="Send an HTTP request and show the answer.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command="request")
    parser.add_argument("url", metavar="URL", nargs="?", help="starts with http:// or https://")
    _add_request(parser)
    _add_output(parser)
    _add_network(parser)
    _add_trust(parser)
    return parser


def _add_request(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to send")
    add = group.add_argument
    add(
        "-X",
        "--request",
        metavar="METHOD",
        help="the method, sent as given; default: GET, or POST if there is something to send",
    )
    add(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="send this header; 'NAME:' leaves one out, 'NAME;' sends it empty",
    )
    body = group.add_mutually_exclusive_group()
    body.add_argument(
        "-d",
        "--data",
        metavar="DATA",
        action="append",
        default=[],
        help="send this, as a form unless -H says else; @FILE: what is in a file, @-: what comes "
        "on standard input; several are joined by &",
    )
    body.add_argument("--json", metavar="JSON", help="send this JSON (also @FILE, @-)")
    body.add_argument(
        "-F",
        "--form",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="send a multipart form; NAME=@FILE[;type=...][;filename=...] uploads a file, "
        "NAME=<FILE takes the value from one",
    )
    add("-I", "--head", action="store_true", help="ask for the head of the answer only")
    add(
        "-u",
        "--user",
        metavar="USER[:PASSWORD]",
        help="log in (Basic); asks for the password if there is none",
    )
    add("-A", "--user-agent", metavar="TEXT", help="who we say we are")
    add("--compressed", action="store_true", help="ask for a compressed answer and unpack it")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to show")
    add = group.add_argument
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="save the answer in a file, which appears when it is complete",
    )
    where.add_argument(
        "-O", "--remote-name", action="store_true", help="save it under the last name in the URL"
    )
    add("-i", "--include", action="store_true", help="show the head of the answer, too")
    add(
        "-v",
        "--verbose",
        action="store_true",
        help="tell on standard error what happens: address, TLS, heads, and the time of each phase",
    )
    add(
        "--show-secrets",
        action="store_true",
        help="do not hide passwords, tokens and cookies in what -v tells",
    )
    add(
        "-f",
        "--fail",
        action="store_true",
        help="status 400 and above is an error (exit code 1), and the answer is not shown",
    )
    add(
        "-s",
        "--silent",
        action="store_true",
        help="no progress bar and no remarks; errors are still told",
    )
    add("--plain", action="store_true", help="no colours")
    add("--version", action="store_true", help="show the version and what is installed")


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to get there")
    add = group.add_argument
    location = group.add_mutually_exclusive_group()
    location.add_argument(
        "-L",
        "--location",
        dest="location",
        action="store_true",
        default=True,
        help="follow redirects (the default)",
    )
    location.add_argument(
        "--no-location",
        dest="location",
        action="store_false",
        help="show a redirect instead of following it",
    )
    add(
        "--max-redirects",
        metavar="N",
        type=_count,
        default=MAX_REDIRECTS,
        help="how many to follow (%(default)s)",
    )
    add(
        "--retry",
        metavar="N",
        type=_count,
        default=0,
        help="try again up to N times, with growing pauses, after failures that may go away: no "
        "connection, broken off, status 408, 429, 500, 502, 503 or 504; a POST only if it was not "
        "sent",
    )
    add(
        "--timeout",
        metavar="S",
        type=_seconds,
        default=TIMEOUT,
        help="seconds for connecting, and for each wait for the server (%(default)s); 0: for ever",
    )
    add("--connect-timeout", metavar="S", type=_seconds, help="seconds for connecting")
    add("-m", "--max-time", metavar="S", type=_seconds, help="seconds for everything together")
    add(
        "-x",
        "--proxy",
        metavar="URL",
        help="send everything through this proxy: http://, https:// or socks5h://, with "
        "user:password@ if it asks for them",
    )


def _add_trust(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("whom to trust").add_argument
    add(
        "-k",
        "--insecure",
        action="store_true",
        help="accept any certificate: whoever is in between can read and change all",
    )
    add("--cacert", metavar="FILE", help="trust the authorities in this file (PEM), and no others")
    add("--cert", metavar="FILE", help="client certificate (PEM), possibly with its key")
    add("--key", metavar="FILE", help="key of the client certificate (PEM)")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, such as 3")
    return min(int(text[:10]), 1_000_000)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, such as 2.5")
    return seconds


def _check(options: argparse.Namespace) -> None:
    """Refuse what argparse does not know to be wrong.

    :raises CommandError: naming it.
    """
    if options.version:
        return
    error: CommandError | None = None
    if options.url is None:
        error = usage("which URL? (see urllib4 --help)")
    elif options.head and (options.data or options.json is not None or options.form):
        error = usage("--head sends nothing but a head: it goes with none of -d, --json and -F")
    elif options.head and options.request is not None:
        error = usage("--head is a method by itself: it does not go with -X")
    elif options.key is not None and options.cert is None:
        error = usage("--key is the key of a certificate: it needs --cert")
    if error is not None:
        raise error
