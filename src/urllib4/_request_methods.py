"""``request()`` and its two ways to encode fields, for everything that has ``urlopen``."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union
from urllib.parse import urlencode

from ._collections import HTTPHeaderDict
from .fields import RequestField
from .filepost import encode_multipart_formdata, iter_field_objects
from .response import BaseHTTPResponse

__all__ = ["RequestMethods"]

_TYPE_ENCODE_URL_FIELDS = Union[
    Sequence[tuple[str, Union[str, bytes]]], Mapping[str, Union[str, bytes]]
]
_TYPE_FIELDS = Union[Mapping[str, Any], Iterable[Union[tuple[str, Any], RequestField]]]


# Names of parameters have no case, boundaries do (RFC 2046, 5.1.1).
_BOUNDARY = re.compile(r';[ \t]*boundary=(?:"([^"]*)"|([^;]*[^; \t]))', re.IGNORECASE)


class RequestMethods:
    """Mix-in for pools and managers: they provide :meth:`urlopen`, this does the rest.

    :param headers: sent with every request that is given no headers of its own.

    As thread-safe as the ``urlopen`` of the class.
    """

    _encode_url_methods = {"DELETE", "GET", "HEAD", "OPTIONS"}

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self.headers: Mapping[str, str] = headers or {}

    def urlopen(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        encode_multipart: bool = True,
        multipart_boundary: str | None = None,
        **kw: Any,
    ) -> BaseHTTPResponse:
        """Send a request as it is; provided by the class."""
        raise NotImplementedError(
            "Classes extending RequestMethods must implement their own ``urlopen`` method."
        )

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        fields: _TYPE_FIELDS | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        **urlopen_kw: Any,
    ) -> BaseHTTPResponse:
        """Send a request; `fields` go into the URL or the body as the method wants it.

        DELETE, GET, HEAD and OPTIONS put them into the query, all others into the body.

        :param body: bytes, str (sent as UTF-8), a file, an iterable of bytes or str.  A mapping
            here is taken as `fields`, for programs from the time when those came third.
        :param fields: names and values; see :meth:`request_encode_body` for files.
        :param headers: instead of the default headers, not in addition.
        :param json: sent as compact JSON with its Content-Type; None means absent.
        :param urlopen_kw: see :meth:`HTTPConnectionPool.urlopen`.
        :raises TypeError: more than one of `body`, `json` and `fields` in the body.
        """
        if body is not None and fields is None and isinstance(body, Mapping):
            body, fields = None, body
        method = method.upper() if isinstance(method, str) else method
        if json is not None:
            if body is not None:
                raise TypeError(
                    "request got values for both 'body' and 'json' parameters which are mutually "
                    "exclusive"
                )
            body, headers = self._encode_json(json, headers)
        if body is not None:
            urlopen_kw["body"] = body
        if method in self._encode_url_methods:
            if (
                not fields
                and type(self).request_encode_url is _OWN_ENCODE_URL
                and "request_encode_url" not in self.__dict__
            ):
                # All that it would do (benchmark ``small``), and nobody wants to see it.
                urlopen_kw["headers"] = self.headers if headers is None else headers
                return self.urlopen(method, url, **urlopen_kw)
            return self.request_encode_url(
                method,
                url,
                fields=fields,  # type: ignore[arg-type]
                headers=headers,
                **urlopen_kw,
            )
        return self.request_encode_body(method, url, fields=fields, headers=headers, **urlopen_kw)

    def _encode_json(
        self, json: Any, headers: Mapping[str, str] | None
    ) -> tuple[bytes, Mapping[str, str]]:
        given = self.headers if headers is None else headers
        if "content-type" not in map(_lower, given):
            given = HTTPHeaderDict(given)
            given["Content-Type"] = "application/json"
        from json import dumps  # loaded by those who need it

        text = dumps(json, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8"), given

    def request_encode_url(
        self,
        method: str,
        url: str,
        fields: _TYPE_ENCODE_URL_FIELDS | None = None,
        headers: Mapping[str, str] | None = None,
        **urlopen_kw: Any,
    ) -> BaseHTTPResponse:
        """Send a request with `fields` in the query of the URL.

        They follow a query that is there already, and precede a fragment.
        """
        if headers is None:
            headers = self.headers
        if fields:
            url = _with_query(url, urlencode(fields))
        return self.urlopen(method, url, headers=headers, **urlopen_kw)

    def request_encode_body(
        self,
        method: str,
        url: str,
        fields: _TYPE_FIELDS | None = None,
        headers: Mapping[str, str] | None = None,
        encode_multipart: bool = True,
        multipart_boundary: str | None = None,
        **urlopen_kw: Any,
    ) -> BaseHTTPResponse:
        """Send a request with `fields` in the body.

        :param fields: a mapping or pairs.  A value is str, bytes, or for a file
            ``(filename, data)`` or ``(filename, data, content_type)``.  Data that are an open file
            or the path of one (:class:`os.PathLike`) are read while they are sent, by a
            :class:`~urllib4.multipart.MultipartEncoder`, whose errors this raises, too.
        :param encode_multipart: multipart/form-data (needed for files); False:
            application/x-www-form-urlencoded.
        :param multipart_boundary: instead of a random one.
        :raises TypeError: `fields` and ``body``, or a file without multipart.

        A Content-Type among the headers is kept, except a multipart one that does not name the
        boundary in use: nobody could read such a body.
        """
        if headers is None:
            headers = self.headers
        if not fields:
            return self.urlopen(method, url, headers=HTTPHeaderDict(headers), **urlopen_kw)
        if "body" in urlopen_kw:
            raise TypeError(
                "request got values for both 'fields' and 'body', can only specify one."
            )
        if encode_multipart:
            objects = list(iter_field_objects(fields))
            if any(_is_file(field.data) for field in objects):
                return self._stream_multipart(
                    method, url, objects, headers, multipart_boundary, urlopen_kw
                )
            body, content_type = encode_multipart_formdata(objects, boundary=multipart_boundary)
        else:
            body = _encode_form(fields)
            content_type = "application/x-www-form-urlencoded"
        return self.urlopen(
            method, url, body=body, headers=_with_type(headers, content_type), **urlopen_kw
        )

    def _stream_multipart(
        self,
        method: str,
        url: str,
        fields: list[RequestField],
        headers: Mapping[str, str],
        boundary: str | None,
        urlopen_kw: dict[str, Any],
    ) -> BaseHTTPResponse:
        from .multipart import MultipartEncoder  # only programs that send files need it

        with MultipartEncoder(fields, boundary) as body:
            headers = _with_type(headers, body.content_type)
            return self.urlopen(method, url, body=body, headers=headers, **urlopen_kw)


_OWN_ENCODE_URL = RequestMethods.request_encode_url


def _is_file(data: Any) -> bool:
    return isinstance(data, os.PathLike) or callable(getattr(data, "read", None))


def _lower(name: str | bytes) -> str:
    return (name.decode("latin-1") if isinstance(name, bytes) else name).lower()


def _with_query(url: str, query: str) -> str:
    address, hash_mark, fragment = url.partition("#")
    if "?" not in address:
        joint = "?"
    else:
        joint = "" if address.endswith(("?", "&")) else "&"
    return f"{address}{joint}{query}{hash_mark}{fragment}"


def _encode_form(fields: _TYPE_FIELDS) -> bytes:
    pairs = list(fields.items() if isinstance(fields, Mapping) else fields)
    for pair in pairs:
        if isinstance(pair, RequestField) or isinstance(pair[1], tuple) or _is_file(pair[1]):
            name = pair._name if isinstance(pair, RequestField) else pair[0]
            raise TypeError(
                f"field {name!r} is a file: a form-urlencoded body cannot hold it, use "
                "encode_multipart=True"
            )
    return urlencode(typing.cast(Any, pairs)).encode("ascii")


def _boundary(content_type: str) -> str | None:
    """Return the ``boundary`` parameter of a multipart type, None if there is none."""
    match = _BOUNDARY.search(content_type)
    return None if match is None else (match[1] or match[2])


def _with_type(headers: Mapping[str, str], content_type: str) -> HTTPHeaderDict:
    result = HTTPHeaderDict(headers)
    given = result.get("content-type")
    unreadable = (
        given is not None
        and given.strip().lower().startswith("multipart/")
        and _boundary(given) != _boundary(content_type)
    )
    if given is None or unreadable:
        result["Content-Type"] = content_type
    return result
