"""Questions about the standard library's response objects: closed? well-formed? a reply to HEAD?"""

from __future__ import annotations

import http.client as httplib
from email.errors import MultipartInvariantViolationDefect, StartBoundaryNotFoundDefect
from typing import Any

from ..exceptions import HeaderParsingError

__all__ = ["assert_header_parsing", "is_fp_closed", "is_response_to_head"]

# http.client hands the header block alone to the email parser, so a multipart message always
# lacks its body there; these defects say nothing about the block.
_DEFECTS_OF_A_MISSING_BODY = (StartBoundaryNotFoundDefect, MultipartInvariantViolationDefect)


def is_fp_closed(obj: object) -> bool:
    """Tell whether a file-like object is closed.

    Asked in this order: ``obj.isclosed()`` (the standard library's responses stay open as files
    when their body has ended), ``obj.closed``, and whether ``obj.fp`` is None.

    :raises ValueError: `obj` has none of the three.
    """
    file: Any = obj
    try:
        return bool(file.isclosed())
    except AttributeError:
        pass
    try:
        return bool(file.closed)
    except AttributeError:
        pass
    try:
        return file.fp is None
    except AttributeError:
        pass
    raise ValueError("Unable to determine whether fp is closed.")


def assert_header_parsing(headers: httplib.HTTPMessage) -> None:
    """Check that a header block was understood as a whole.

    :param headers: the block as the standard library parsed it.
    :raises TypeError: `headers` is not an ``http.client.HTTPMessage``.
    :raises HeaderParsingError: the block has defects, or text that belongs to no header.
    """
    if not isinstance(headers, httplib.HTTPMessage):
        raise TypeError(f"expected httplib.Message, got {type(headers)}.")
    unparsed: bytes | str | None = None
    if not headers.is_multipart():
        # What the parser could not read as a header ends up as the message's payload.
        payload = headers.get_payload()
        if isinstance(payload, (bytes, str)):
            unparsed = payload
    defects = [
        defect for defect in headers.defects if not isinstance(defect, _DEFECTS_OF_A_MISSING_BODY)
    ]
    if defects or unparsed:
        raise HeaderParsingError(defects=defects, unparsed_data=unparsed)


def is_response_to_head(response: httplib.HTTPResponse) -> bool:
    """Tell whether `response` answers a HEAD request, and so has no body (RFC 9110, 9.3.2)."""
    method: str = response._method  # type: ignore[attr-defined]  # typeshed leaves it out
    return method.upper() == "HEAD"
