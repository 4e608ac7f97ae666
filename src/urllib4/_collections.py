"""The two containers: header fields by name, and the most recently used of something.

Header field semantics are those of RFC 9110, section 5: names are case-insensitive, several
lines of one name mean the same as one line with the values joined by ``", "`` (5.2), except
for ``Set-Cookie``, which is why the lines are kept apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import ExitStack
from enum import Enum
from threading import RLock
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, Union, cast, overload

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HTTPHeaderDict", "RecentlyUsedContainer"]

_K = TypeVar("_K")
_V = TypeVar("_V")
_D = TypeVar("_D")


class HasGettableStringKeys(Protocol):
    """An object that is no ``Mapping`` but has names and a value for each."""

    def keys(self) -> Iterable[str]:
        """Return the names."""

    def __getitem__(self, key: str) -> str:
        """Return the value of one name."""


#: What an :class:`HTTPHeaderDict` can be made of.
ValidHTTPHeaderSource = Union[
    "HTTPHeaderDict", Mapping[str, str], Iterable[tuple[str, str]], HasGettableStringKeys
]


class _Absent(Enum):
    """Tells "no default given" from a default of None."""

    ABSENT = 0


class RecentlyUsedContainer(MutableMapping[_K, _V]):
    """A mapping that keeps the `maxsize` items that were used last.

    Reading an item (``c[key]``, ``get``, ``in``), storing and replacing it count as use.  Storing
    a new key beyond `maxsize` evicts the item that was not used for the longest time; with 0, the
    one just stored.  Iteration is refused (``NotImplementedError``) since other threads may change
    the container meanwhile; :meth:`keys` returns a copy.

    :param maxsize: number of items kept, 0 or more.
    :param dispose_func: called with every value that leaves the container: evicted, replaced,
        deleted, popped (although the caller gets it too) or cleared.
    :raises ValueError: `maxsize` is negative.

    Safe to share between threads.  Hold :attr:`lock` (re-entrant) to make several operations one.
    `dispose_func` runs after the container has let go of the lock, so it may use the container
    or block; when the caller holds the lock around an operation, it runs under that.
    """

    #: Called with every value that leaves, or None.
    dispose_func: Callable[[_V], object] | None

    def __init__(
        self, maxsize: int = 10, dispose_func: Callable[[_V], object] | None = None
    ) -> None:
        self._maxsize = _checked_maxsize(maxsize)
        self.dispose_func = dispose_func
        self._container: OrderedDict[_K, _V] = OrderedDict()  # from the oldest to the youngest
        # The youngest item if it was read last: reading it again changes nothing.
        self._youngest: tuple[Any, Any] | None = None
        #: Guards ``_container``, its order and ``_maxsize``.
        self.lock: Any = RLock()

    @property
    def maxsize(self) -> int:
        """Number of items kept.  Setting a lower one evicts at once; ValueError if negative."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        size = _checked_maxsize(value)
        with self.lock:
            self._maxsize = size
            evicted = self._evict()
        self._dispose(evicted)

    def __getitem__(self, key: _K) -> _V:
        with self.lock:
            value = self._container[key]
            self._container.move_to_end(key)
            self._youngest = (key, value)
        return value

    @overload
    def get(self, key: _K) -> _V | None: ...
    @overload
    def get(self, key: _K, default: _V) -> _V: ...
    @overload
    def get(self, key: _K, default: _D) -> _V | _D: ...
    def get(self, key: _K, default: Any = None) -> Any:
        """Return the value of `key`, which thereby counts as used, or `default`."""
        youngest = self._youngest
        if youngest is not None and youngest[0] is key:
            return youngest[1]  # no lock that 32 threads would queue for (benchmark ``thr32``)
        with self.lock:
            # Twice looked up, not three times: the key of a pool has 50 fields to be hashed
            # (benchmark ``hosts``).
            value = self._container.get(key, _Absent.ABSENT)
            if value is _Absent.ABSENT:
                return default
            self._container.move_to_end(key)
            self._youngest = (key, value)
            return value

    def __contains__(self, key: object) -> bool:
        with self.lock:
            found = key in self._container
            if found:
                self._youngest = None
                self._container.move_to_end(cast(_K, key))
        return found

    def __setitem__(self, key: _K, value: _V) -> None:
        with self.lock:
            self._youngest = None
            gone = [self._container[key]] if key in self._container else []
            self._container[key] = value
            self._container.move_to_end(key)
            gone += self._evict()
        self._dispose(gone)

    @overload
    def setdefault(
        self: RecentlyUsedContainer[_K, _D | None], key: _K, default: None = None
    ) -> _D | None: ...
    @overload
    def setdefault(self, key: _K, default: _V) -> _V: ...
    def setdefault(self, key: _K, default: Any = None) -> Any:
        """Return the value of `key` after storing `default` if there was none, as one step."""
        with self.lock:
            known = len(self._container)
            value = self._container.setdefault(key, default)
            if len(self._container) == known:
                self._container.move_to_end(key)
                self._youngest = (key, value)
                return value
            evicted = self._evict()
        self._dispose(evicted)
        return default

    def __delitem__(self, key: _K) -> None:
        with self.lock:
            self._youngest = None
            value = self._container.pop(key)
        self._dispose([value])

    @overload
    def pop(self, key: _K) -> _V: ...
    @overload
    def pop(self, key: _K, default: _V) -> _V: ...
    @overload
    def pop(self, key: _K, default: _D) -> _V | _D: ...
    def pop(self, key: _K, default: Any = _Absent.ABSENT) -> Any:
        """Remove `key`, return its value and dispose of it.

        :raises KeyError: there is no such key and no `default` was given.
        """
        with self.lock:
            if key not in self._container and default is not _Absent.ABSENT:
                return default
            self._youngest = None
            value = self._container.pop(key)
        self._dispose([value])
        return value

    def __len__(self) -> int:
        with self.lock:
            return len(self._container)

    def __iter__(self) -> NoReturn:
        raise NotImplementedError(
            "a RecentlyUsedContainer cannot be iterated: other threads may change it meanwhile. "
            "Iterate over keys(), which is a copy."
        )

    def clear(self) -> None:
        """Remove all items and dispose of them, the oldest first."""
        with self.lock:
            self._youngest = None
            values = list(self._container.values())
            self._container.clear()
        self._dispose(values)

    def keys(self) -> set[_K]:  # type: ignore[override]  # a view could change under the reader
        """Return a new set of the keys."""
        with self.lock:
            return set(self._container)

    def _evict(self) -> list[_V]:
        """Take out what exceeds the size; call it with the lock held."""
        self._youngest = None
        surplus = len(self._container) - self._maxsize
        if surplus == 1:  # which it nearly always is (benchmark ``pm_evict``)
            return [self._container.popitem(last=False)[1]]
        return [self._container.popitem(last=False)[1] for _ in range(surplus)]

    def _dispose(self, values: list[_V]) -> None:
        """Hand each of `values` to ``dispose_func``; call it without the lock.

        An error does not keep the others from being disposed of; it is raised at the end.
        """
        dispose = self.dispose_func
        if dispose is None or not values:
            return
        if len(values) == 1:  # which it nearly always is (benchmark ``pm_evict``)
            dispose(values[0])
            return
        with ExitStack() as stack:
            for value in reversed(values):  # a stack: the oldest is disposed of first
                stack.callback(dispose, value)


def _checked_maxsize(maxsize: int) -> int:
    if maxsize < 0:
        raise ValueError(f"maxsize must be 0 or more, not {maxsize!r}")
    return maxsize


class HTTPHeaderDict(MutableMapping[str, str]):
    """Header fields: a case-insensitive mapping that remembers lines, spelling and order.

    Reading ``headers[name]`` joins all lines of the name with ``", "``; :meth:`getlist` and
    :meth:`items` give the lines one by one.  Iterating gives each name once, as it was first
    spelled.  ``headers[name] = value`` replaces all lines and the spelling, :meth:`add` and
    :meth:`extend` (and the constructor) add lines, :meth:`update` replaces lines by the lines of
    its argument.

    Names are ``str`` or ``bytes`` (taken as Latin-1); another type is a TypeError, except for
    ``in``, which is False.  Values are kept as they are given; reading a line that is no ``str``
    is a TypeError, for the one who writes them to the wire is to judge them.

    :param headers: another HTTPHeaderDict, a mapping, pairs of name and value, an object with
        ``keys()`` and ``[]``, or None.
    :param kwargs: more lines, added after those of `headers`.
    :raises TypeError: `headers` is none of these.
    :raises ValueError: an item of `headers` is not a pair.

    Several threads may read one at the same time; changes need a lock of the caller.
    """

    # Lower-cased name -> [name as first spelled, first value, second value, ...].  Whoever changes
    # one puts a list there: that of a response's head may be a tuple which many share (benchmark
    # ``json``).
    _container: dict[str, Sequence[str]]

    def __init__(self, headers: ValidHTTPHeaderSource | None = None, **kwargs: str) -> None:
        self._container = {}
        if headers is not None:
            self.extend(headers)
        if kwargs:
            self.extend(kwargs)

    @classmethod
    def _from_container(cls, container: dict[str, Sequence[str]]) -> Self:
        """Adopt `container`, without a copy: every response head comes this way."""
        self = cls.__new__(cls)
        self._container = container
        return self

    # -- one name ---------------------------------------------------------------------------------

    def __getitem__(self, key: str | bytes) -> str:
        values = self._container[key.lower() if type(key) is str else _folded(key)]
        if len(values) == 2 and type(values[1]) is str:
            return values[1]
        return _joined(values)

    def __setitem__(self, key: str | bytes, val: str) -> None:
        name = key if type(key) is str else _text(key)
        self._container[name.lower()] = [name, val]

    def __delitem__(self, key: str | bytes) -> None:
        del self._container[_folded(key)]

    def __contains__(self, key: object) -> bool:
        if type(key) is str:  # nearly always, and much cheaper than what follows
            return key.lower() in self._container
        return isinstance(key, (str, bytes)) and _folded(key) in self._container

    @overload
    def get(self, key: str | bytes) -> str | None: ...
    @overload
    def get(self, key: str | bytes, default: str) -> str: ...
    @overload
    def get(self, key: str | bytes, default: _D) -> str | _D: ...
    def get(self, key: str | bytes, default: Any = None) -> Any:
        """Return the joined lines of `key`, or `default` if there are none."""
        values = self._container.get(key.lower() if type(key) is str else _folded(key))
        if values is None:
            return default
        if len(values) == 2 and type(values[1]) is str:
            return values[1]
        return _joined(values)

    @overload
    def getlist(self, key: str | bytes) -> list[str]: ...
    @overload
    def getlist(self, key: str | bytes, default: _D) -> list[str] | _D: ...
    def getlist(self, key: str | bytes, default: _Absent | _D = _Absent.ABSENT) -> list[str] | _D:
        """Return a new list of the lines of `key`.

        Without lines it is empty, or `default` if one is given.
        """
        values = self._container.get(key.lower() if type(key) is str else _folded(key))
        if values is not None:
            return [*values[1:]]
        return [] if default is _Absent.ABSENT else default

    #: Names under which other libraries have looked for :meth:`getlist`; ``http.cookiejar`` for
    #: the last one.
    getheaders = getlist
    getallmatchingheaders = getlist
    iget = getlist
    get_all = getlist

    def setdefault(self, key: str | bytes, default: str = "") -> str:
        """Return the joined lines of `key`, after adding the line `default` if there were none."""
        name = _text(key)
        return _joined(self._container.setdefault(name.lower(), [name, default]))

    def discard(self, key: str | bytes) -> None:
        """Remove all lines of `key`, if there are any."""
        self._container.pop(_folded(key), None)

    def add(self, key: str | bytes, val: str, *, combine: bool = False) -> None:
        """Add a line.

        :param combine: if there are lines of this name, append ``", "`` and `val` to the last
            one instead.

        >>> headers = HTTPHeaderDict(accept="text/html")
        >>> headers.add("Accept", "text/plain")
        >>> headers.getlist("accept")
        ['text/html', 'text/plain']
        """
        name = key if type(key) is str else _text(key)
        lower = name.lower()
        values = self._container.setdefault(lower, [name])
        if type(values) is not list:
            self._container[lower] = values = [*values]
        if combine and len(values) > 1:
            values[-1] = f"{values[-1]}, {val}"
        else:
            values.append(val)

    # -- many names -------------------------------------------------------------------------------

    def extend(self, *args: ValidHTTPHeaderSource, **kwargs: str) -> None:
        """Add the lines of one source, taken as the constructor takes it, and then of `kwargs`."""
        if len(args) > 1:
            raise TypeError(f"extend() takes at most 1 positional arguments ({len(args)} given)")
        for source in args:
            for name, value in _lines(source):
                self.add(name, value)
        for name, value in kwargs.items():
            self.add(name, value)

    def update(self, other: Any = (), /, **kwargs: str) -> None:
        """Replace, name by name, the lines held here by those of `other` and `kwargs`.

        A source that knows several lines of one name (an HTTPHeaderDict, an
        ``email.message.Message``) hands over all of them as separate lines.  Of a mapping or
        pairs, the last value of a name counts, as with ``dict.update``.
        """
        if callable(getattr(other, "get_all", None)) and _is_keyed(other):
            for name in list(other.keys()):
                spelling = _text(name)
                self._container[spelling.lower()] = [spelling, *other.get_all(name)]
        else:
            for name, value in _lines(other):
                self[name] = value
        for name, value in kwargs.items():
            self[name] = value

    def copy(self) -> Self:
        """Return an independent copy of the same class."""
        clone = type(self)()
        clone._container = {name: [*values] for name, values in self._container.items()}
        return clone

    __copy__ = copy

    def __eq__(self, other: object) -> bool:
        """Compare names without case and joined values; order and spelling do not count."""
        if not isinstance(other, HTTPHeaderDict):
            if ensure_can_construct_http_header_dict(other) is None:
                return NotImplemented
            try:
                other = HTTPHeaderDict(cast(ValidHTTPHeaderSource, other))
            except (TypeError, ValueError):
                return NotImplemented  # pairs that are no pairs, or names that are no names
        return self._comparable() == other._comparable()

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: object) -> Self:
        source = ensure_can_construct_http_header_dict(other)
        if source is None:
            return NotImplemented
        result = self.copy()
        result.extend(source)
        return result

    def __ror__(self, other: object) -> Self:
        source = ensure_can_construct_http_header_dict(other)
        if source is None:
            return NotImplemented
        result = type(self)(source)
        result.extend(self)
        return result

    def __ior__(self, other: object) -> Self:
        source = ensure_can_construct_http_header_dict(other)
        if source is None:
            return NotImplemented
        self.extend(source)
        return self

    # -- all of it --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._container)

    def __iter__(self) -> Iterator[str]:
        for values in self._container.values():
            yield values[0]

    def iteritems(self) -> Iterator[tuple[str, str]]:
        """Iterate over the lines as pairs of name (first spelling) and value."""
        for values in self._container.values():
            name = values[0]
            for value in values[1:]:
                yield name, value

    def itermerged(self) -> Iterator[tuple[str, str]]:
        """Iterate over pairs of name (first spelling) and joined value, one per name."""
        for values in self._container.values():
            yield values[0], _joined(values)

    def items(self) -> HTTPHeaderDictItemView:
        """Return a view of the lines: their number, iteration, and ``(name, value) in view``."""
        return HTTPHeaderDictItemView(self)

    def __repr__(self) -> str:
        shown = {values[0]: _merged(values) for values in self._container.values()}
        return f"{type(self).__name__}({shown})"

    def _comparable(self) -> dict[str, str | list[str]]:
        return {name: _merged(values) for name, values in self._container.items()}

    def _has_value_for_header(self, header_name: str, potential_value: str) -> bool:
        return header_name in self and potential_value in self.getlist(header_name)


class HTTPHeaderDictItemView(ItemsView[str, str]):
    """The lines of an :class:`HTTPHeaderDict`, live; a name may occur several times."""

    _mapping: HTTPHeaderDict

    def __init__(self, headers: HTTPHeaderDict) -> None:
        super().__init__(headers)

    def __len__(self) -> int:
        return sum(len(values) - 1 for values in self._mapping._container.values())

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return self._mapping.iteritems()

    def __contains__(self, item: object) -> bool:
        if isinstance(item, tuple) and len(item) == 2:
            return self._mapping._has_value_for_header(*item)
        return False


def ensure_can_construct_http_header_dict(potential: object) -> ValidHTTPHeaderSource | None:
    """Return `potential` if it looks like a source for an :class:`HTTPHeaderDict`, else None."""
    if isinstance(potential, (str, bytes, bytearray)):
        return None  # iterable, but not as pairs
    if isinstance(potential, Iterable) or _is_keyed(potential):
        return cast(ValidHTTPHeaderSource, potential)
    return None


def _lines(source: Any) -> Iterable[tuple[str, str]]:
    """Return the pairs of any source; a list where adding them could disturb the iteration."""
    if source is None:
        return ()
    if isinstance(source, HTTPHeaderDict):
        return list(source.iteritems())
    if _is_keyed(source):
        # items() first: where a name has several lines, [] gives but one of them each time.
        items = getattr(source, "items", None)
        return (
            list(items())
            if callable(items)
            else [(key, source[key]) for key in list(source.keys())]
        )
    if ensure_can_construct_http_header_dict(source) is None:
        raise TypeError(
            "headers must be a mapping or an iterable of (name, value) pairs, "
            f"not {type(source).__name__}"
        )
    return _pairs(source)


def _pairs(source: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for pair in source:
        try:
            name, value = pair
        except (TypeError, ValueError):
            raise ValueError(
                f"headers must come as (name, value) pairs, not as {type(pair).__name__}"
            ) from None
        yield name, value


def _is_keyed(source: object) -> bool:
    return callable(getattr(source, "keys", None)) and hasattr(source, "__getitem__")


def _text(name: str | bytes) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, bytes):
        return name.decode("latin-1")
    raise TypeError(f"header names must be str or bytes, not {type(name).__name__}")


def _folded(name: str | bytes) -> str:
    return _text(name).lower()


def _joined(values: Sequence[Any]) -> str:
    try:
        return ", ".join(values[1:])
    except TypeError:
        wrong = next(type(value).__name__ for value in values[1:] if not isinstance(value, str))
        raise TypeError(
            f"header {values[0]!r} has a value of type {wrong}; only str can be read"
        ) from None


def _merged(values: Sequence[str]) -> str | list[str]:
    """Return the joined lines, or the lines themselves where some are no ``str``."""
    lines = [*values[1:]]
    return ", ".join(lines) if all(isinstance(line, str) for line in lines) else lines
