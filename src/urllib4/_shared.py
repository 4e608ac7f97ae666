"""One manager for the whole program, and the function that asks it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .poolmanager import PoolManager
from .response import BaseHTTPResponse
from .util.retry import Retry
from .util.timeout import Timeout

_DEFAULT_POOL = PoolManager()

_front_door: Any = sys.modules[__name__.rpartition(".")[0]]


def request(
    method: str,
    url: str,
    *,
    body: Any = None,
    fields: Any = None,
    headers: Mapping[str, str] | None = None,
    preload_content: bool = True,
    decode_content: bool = True,
    redirect: bool = True,
    retries: Retry | bool | int | None = None,
    timeout: Timeout | float | None = 3,
    json: Any = None,
) -> BaseHTTPResponse:
    """Send one request by a manager that the whole program shares.

    Convenient for scripts.  Libraries should make a :class:`PoolManager` of their own: this one
    is shared with everybody else in the process.

    :param timeout: a :class:`Timeout` or seconds; None: wait for ever.

    The others are those of :meth:`PoolManager.request`.  Safe to call from many threads.
    """
    # By its name there, which programs and tests replace.
    manager: PoolManager = _front_door._DEFAULT_POOL
    return manager.request(
        method,
        url,
        body=body,
        fields=fields,
        headers=headers,
        preload_content=preload_content,
        decode_content=decode_content,
        redirect=redirect,
        retries=retries,
        timeout=timeout,
        json=json,
    )
