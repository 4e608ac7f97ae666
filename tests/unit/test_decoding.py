"""urllib4._decoding: whole streams, cut streams, hostile streams, in pieces of every size."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import random
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.families import every
from urllib4 import _decoding
from urllib4._decoding import (
    BrotliDecoder,
    BytesQueueBuffer,
    ContentDecoder,
    DeflateDecoder,
    GzipDecoder,
    GzipDecoderState,
    MultiDecoder,
    ZstdDecoder,
    available_codings,
    get_decoder,
)
from urllib4.exceptions import DecodeError, DependencyWarning

brotli = pytest.importorskip("brotli")
ZSTD_NAME = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
zstd = pytest.importorskip(ZSTD_NAME)

MIB = 1024 * 1024
TEXT = b"".join(b"%d bottles of beer on the wall\n" % number for number in range(99))
NOISE = random.Random(5).randbytes(3000)


def gzipped(data: bytes) -> bytes:
    """With the same bytes each time: usually they tell the time."""
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    codec = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return codec.compress(data) + codec.flush()


#: What may inflate: zlib, and in its place what is installed of the others.
INFLATERS = ["zlib"] + [
    name
    for name in ("isal.isal_zlib", "zlib_ng.zlib_ng")
    if importlib.util.find_spec(name.partition(".")[0])
]


@pytest.fixture(scope="module", autouse=True)
def inflater(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The module that inflates: zlib unless the test says otherwise."""
    name = getattr(request, "param", "zlib")
    module = importlib.import_module(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_decoding, "_zlib_for_gzip", lambda: module)
        deflate = zlib if name == "isal.isal_zlib" else module  # isal is for gzip only
        patch.setattr(_decoding, "_zlib_for_deflate", lambda: deflate)
        yield module


#: Whatever module inflates, all promises hold.
every_inflater = pytest.mark.parametrize("inflater", INFLATERS, indirect=True, scope="module")


Encoder = Callable[[bytes], bytes]

#: Name, encoder, decoder of everything that can be decoded.
CODINGS: dict[str, tuple[Encoder, Callable[[], ContentDecoder]]] = {
    "gzip": (gzipped, GzipDecoder),
    "zlib": (zlib.compress, DeflateDecoder),
    "raw": (raw_deflate, DeflateDecoder),
    "br": (brotli.compress, BrotliDecoder),
    "zstd": (zstd.compress, ZstdDecoder),
    "br, gzip": (
        lambda data: gzipped(brotli.compress(data)),
        lambda: MultiDecoder("br, gzip"),
    ),
    "gzip, deflate, zstd": (
        lambda data: zstd.compress(zlib.compress(gzipped(data))),
        lambda: MultiDecoder("gzip, deflate, zstd"),
    ),
}


def _inflaters_of(coding: str) -> list[str]:
    if "gzip" in coding:
        return INFLATERS
    inflates = coding in ("zlib", "raw")
    return [name for name in INFLATERS if name == "zlib" or (inflates and "isal" not in name)]


#: Everything that can be decoded, by every module that may inflate it.
every_coding = pytest.mark.parametrize(
    ("encode", "new", "inflater"),
    [
        pytest.param(*functions, name, id=f"{coding}-{name}")
        for coding, functions in CODINGS.items()
        for name in _inflaters_of(coding)
    ],
    indirect=["inflater"],
    scope="module",
)


def decode(decoder: ContentDecoder, pieces: list[bytes], max_length: int = -1) -> bytes:
    """Decode the whole body, in outputs of at most `max_length` bytes, and check the promises."""
    result = b""
    for piece in pieces:
        content = decoder.decompress(piece, max_length)
        result += content
        assert max_length < 0 or len(content) <= max_length
        while decoder.has_unconsumed_tail:
            content = decoder.decompress(b"", max_length)
            result += content
            assert max_length < 0 or len(content) <= max_length
    return result + decoder.flush()


def split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


# -- whole streams --------------------------------------------------------------------------------


@every_coding
@every(data=[b"", b"x", TEXT, NOISE, TEXT * 50 + NOISE], max_length=[-1, 1, 2, 1000, 10**9])
def test_content_comes_out_whatever_the_size_of_the_pieces(
    encode: Encoder,
    new: Callable[[], ContentDecoder],
    data: bytes,
    max_length: int,
) -> None:
    for size in (10**9, 1000, 7, 2, 1):
        if size < 1000 or 0 < max_length < 1000:
            data = data[-5000:]  # enough for all that can happen; each step takes its time
        decoder = new()
        assert decode(decoder, split(encode(data), size), max_length) == data, size
        assert decoder.finished, size
        assert not decoder.has_unconsumed_tail, size


@every_coding
def test_every_max_length_works_on_a_small_stream(
    encode: Encoder, new: Callable[[], ContentDecoder]
) -> None:
    data = TEXT[:90]
    for max_length in range(1, len(data) + 2):
        assert decode(new(), [encode(data)], max_length) == data


@every_coding
def test_nothing_is_lost_when_max_length_is_zero(
    encode: Encoder, new: Callable[[], ContentDecoder]
) -> None:
    decoder = new()
    for piece in split(encode(TEXT), 100):
        assert decoder.decompress(piece, 0) == b""
    assert decoder.has_unconsumed_tail
    assert decoder.decompress(b"", 10) == TEXT[:10]
    assert decoder.decompress(b"", 0) == b""
    assert decoder.flush() == TEXT[10:]


@every_coding
def test_empty_input_changes_nothing(encode: Encoder, new: Callable[[], ContentDecoder]) -> None:
    decoder = new()
    assert decoder.decompress(b"") == decoder.decompress(b"", 5) == b""
    pieces = [piece for byte in split(encode(TEXT), 40) for piece in (b"", byte, b"")]
    assert decode(decoder, pieces) == TEXT


@every_coding
def test_an_empty_body_is_no_error(encode: Encoder, new: Callable[[], ContentDecoder]) -> None:
    """Answers to HEAD, and careless servers, name a coding for nothing."""
    decoder = new()
    assert not decoder.has_unconsumed_tail
    assert decoder.flush() == b""


@every_coding
def test_flush_may_be_called_again(encode: Encoder, new: Callable[[], ContentDecoder]) -> None:
    decoder = new()
    assert decode(decoder, [encode(TEXT)]) == TEXT
    assert decoder.flush() == b""


@every_coding
def test_a_buffer_that_the_caller_changes_later_was_copied(
    encode: Encoder, new: Callable[[], ContentDecoder]
) -> None:
    buffer = bytearray(encode(TEXT))
    decoder = new()
    first: Any = decoder.decompress(buffer, 10)  # type: ignore[arg-type]
    buffer[:] = bytes(len(buffer))
    assert first + decoder.flush() == TEXT


@every_coding
@examples(25)
@given(data=st.data())
def test_random_pieces_and_limits(
    encode: Encoder, new: Callable[[], ContentDecoder], data: st.DataObject
) -> None:
    content = data.draw(st.binary(max_size=50)) * data.draw(st.integers(0, 2000))
    encoded = encode(content)
    decoder = new()
    result = b""
    while encoded:
        cut = data.draw(st.integers(0, len(encoded)))
        limit = data.draw(st.sampled_from([-1, 0, 1, 100, 40_000]))
        piece, encoded = encoded[:cut], encoded[cut:]
        got = decoder.decompress(piece, limit)
        assert limit < 0 or len(got) <= limit
        result += got
        if not cut:
            break
    assert result + decoder.decompress(encoded) + decoder.flush() == content


# -- cut and malformed streams --------------------------------------------------------------------


@every_coding
@pytest.mark.parametrize("max_length", [-1, 5])
def test_a_stream_cut_at_any_byte_is_an_error_at_the_end(
    encode: Encoder, new: Callable[[], ContentDecoder], max_length: int
) -> None:
    """Otherwise half a document counts as the whole one."""
    encoded = encode(TEXT[:200])
    for length in range(1, len(encoded)):
        decoder = new()
        with pytest.raises(DecodeError, match="ended before"):
            decode(decoder, [encoded[:length]], max_length)
        assert not decoder.finished


@every_coding
def test_a_stream_that_is_something_else_is_an_error(
    encode: Encoder, new: Callable[[], ContentDecoder]
) -> None:
    for garbage in (b"<html>not encoded at all</html>" * 9, b"\xff" * 300, NOISE):
        with pytest.raises(DecodeError):
            decode(new(), [garbage])
        with pytest.raises(DecodeError):
            decode(new(), split(garbage, 1), 10)


@every_inflater
@pytest.mark.parametrize("name", ["gzip", "zlib", "zstd"])
def test_a_changed_byte_never_passes_for_the_content(name: str) -> None:
    """These formats have a checksum (zstd: when asked for) and it is checked."""
    encode, new = CODINGS[name]
    if name == "zstd":
        options = {zstd.CompressionParameter.checksum_flag: 1}
        encoded = zstd.compress(TEXT, options=options)
    else:
        encoded = encode(TEXT)
    for position in range(20, len(encoded)):
        wrong = bytearray(encoded)
        wrong[position] ^= 0x10
        try:
            content = decode(new(), [bytes(wrong)])
        except DecodeError:
            continue
        assert content == TEXT


@every_inflater
@pytest.mark.parametrize("new", [BrotliDecoder, ZstdDecoder, GzipDecoder, DeflateDecoder])
def test_the_error_of_the_library_is_the_cause(new: Callable[[], ContentDecoder]) -> None:
    with pytest.raises(DecodeError, match="malformed") as caught:
        new().decompress(b"\xff" * 300)
    assert caught.value.__cause__ is not None


# -- deflate --------------------------------------------------------------------------------------


@every_inflater
@pytest.mark.parametrize("size", [1, 10**9])
@pytest.mark.parametrize("encode", [zlib.compress, raw_deflate])
@pytest.mark.parametrize("max_length", [-1, 7])
def test_bytes_after_a_deflate_stream_are_ignored(
    encode: Encoder, size: int, max_length: int
) -> None:
    """And do not make an endless loop, as they once did in urllib3."""
    decoder = DeflateDecoder()
    assert decode(decoder, split(encode(TEXT) + NOISE, size), max_length) == TEXT
    assert decoder.decompress(NOISE) == b""
    assert not decoder.has_unconsumed_tail


@every_inflater
def test_raw_deflate_is_recognised_when_the_second_byte_comes_late() -> None:
    for content in (b"", b"a", TEXT, NOISE):
        encoded = raw_deflate(content)
        assert decode(DeflateDecoder(), [encoded[:1], b"", encoded[1:]]) == content


@every_inflater
def test_a_zlib_stream_that_breaks_after_its_first_content_is_not_tried_again_as_raw() -> None:
    encoded = zlib.compress(NOISE, 0)
    decoder = DeflateDecoder()
    assert decoder.decompress(encoded[:100])
    with pytest.raises(DecodeError):
        decode(decoder, [b"\xff" * 5000])


@every_inflater
def test_empty_blocks_before_the_content_do_not_pile_up() -> None:
    """Until zlib or raw is certain, what was read is kept; that must have an end."""
    decoder = DeflateDecoder()
    decoder.decompress(b"\x78\x9c")
    tracemalloc.start()
    try:
        for _ in range(100):
            decoder.decompress(b"\x00\x00\x00\xff\xff" * 1000)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()
    assert decode(decoder, [b"\x01\x00\x00\xff\xff" + (1).to_bytes(4, "big")]) == b""


# -- gzip -----------------------------------------------------------------------------------------


@every_inflater
@pytest.mark.parametrize("size", [1, 3, 10**9])
@pytest.mark.parametrize("max_length", [-1, 7])
def test_all_members_of_a_gzip_body_are_decoded(size: int, max_length: int) -> None:
    body = gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(NOISE)
    assert decode(GzipDecoder(), split(body, size), max_length) == TEXT + NOISE


@every_inflater
@pytest.mark.parametrize("size", [1, 10**9])
@pytest.mark.parametrize("garbage", [b"\0" * 600, b"garbage", b"\x1f\x8a" + NOISE], ids=repr)
def test_what_follows_a_member_and_is_none_is_ignored(size: int, garbage: bytes) -> None:
    decoder = GzipDecoder()
    assert decode(decoder, split(gzip.compress(TEXT) + garbage, size), 100) == TEXT
    assert decoder._state == GzipDecoderState.SWALLOW_DATA
    assert decoder.decompress(gzip.compress(TEXT)) == b""


@every_inflater
def test_a_second_member_cut_at_any_byte_is_an_error() -> None:
    first, second = gzip.compress(TEXT), gzip.compress(b"more")
    for length in range(1, len(second)):
        with pytest.raises(DecodeError, match="ended before"):
            decode(GzipDecoder(), [first + second[:length]])


@every_inflater
def test_a_second_member_that_is_malformed_is_an_error() -> None:
    """urllib3 drops it: the content is cut without a word."""
    second = bytearray(gzip.compress(TEXT))
    second[-6] ^= 1  # its checksum
    with pytest.raises(DecodeError):
        decode(GzipDecoder(), [gzip.compress(TEXT) + bytes(second)])


# -- zstd -----------------------------------------------------------------------------------------

SKIPPABLE = b"\x5a\x2a\x4d\x18\x05\x00\x00\x00hello"


@pytest.mark.parametrize("size", [1, 3, 10**9])
@pytest.mark.parametrize("max_length", [-1, 7])
def test_all_frames_of_a_zstd_body_are_decoded(size: int, max_length: int) -> None:
    body = SKIPPABLE + zstd.compress(TEXT) + SKIPPABLE + zstd.compress(NOISE) + SKIPPABLE
    assert decode(ZstdDecoder(), split(body, size), max_length) == TEXT + NOISE


def test_a_second_frame_cut_at_any_byte_is_an_error() -> None:
    first, second = zstd.compress(TEXT), SKIPPABLE + zstd.compress(b"more")
    for length in range(1, len(second)):
        if length != len(SKIPPABLE):
            with pytest.raises(DecodeError, match="ended before"):
                decode(ZstdDecoder(), [first + second[:length]])


@pytest.mark.parametrize(("log", "accepted"), [(23, True), (24, False)])
def test_a_window_above_8_mib_is_refused(log: int, accepted: bool) -> None:
    """RFC 9659: each response may make us allocate its window."""
    codec = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    body = codec.compress(NOISE) + codec.flush()
    if accepted:
        assert decode(ZstdDecoder(), [body]) == NOISE
    else:
        with pytest.raises(DecodeError, match="memory"):
            decode(ZstdDecoder(), [body])


class Counting:
    """Stands for a codec and counts the bytes handed to it."""

    def __init__(self, codec: Any, counts: list[int]) -> None:
        self._codec = codec
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def decompress(self, data: bytes, *limit: int) -> bytes:
        self._counts.append(len(data))
        result: bytes = self._codec.decompress(data, *limit)
        return result


@pytest.mark.parametrize("max_length", [-1, 100])
def test_a_megabyte_of_empty_frames_takes_time_in_proportion(
    monkeypatch: pytest.MonkeyPatch, max_length: int
) -> None:
    """The codec copies what follows a frame: with the whole rest each time, that is the square."""
    counts: list[int] = []
    decoder = ZstdDecoder()
    new_codec = decoder._new_codec
    monkeypatch.setattr(
        decoder, "_new_codec", lambda **options: Counting(new_codec(**options), counts)
    )
    empty = zstd.compress(b"")
    frames = MIB // len(empty)
    assert decode(decoder, [empty * frames], max_length) == b""
    assert len(counts) <= 2 * frames
    assert sum(counts) <= 2000 * frames


@every_inflater
@pytest.mark.parametrize("max_length", [-1, 100])
def test_a_megabyte_of_empty_members_takes_time_in_proportion(
    monkeypatch: pytest.MonkeyPatch, max_length: int
) -> None:
    counts: list[int] = []
    new_member = GzipDecoder._new_member
    monkeypatch.setattr(GzipDecoder, "_new_member", lambda self: Counting(new_member(self), counts))
    empty = gzip.compress(b"")
    members = MIB // len(empty)
    assert decode(GzipDecoder(), [empty * members], max_length) == b""
    assert sum(counts) <= 2000 * members


@every_inflater
@every(member=[0, 1], cut=[1, 3, 4, 1000], bit=[32, 64, 128])
def test_a_member_with_reserved_flags_is_refused(bit: int, cut: int, member: int) -> None:
    """RFC 1952, 2.3.1.2: they may mean that the header has parts that nobody here knows."""
    broken = bytearray(gzip.compress(TEXT))
    broken[3] |= bit
    data = gzip.compress(TEXT) * member + broken
    with pytest.raises(DecodeError):
        decode(GzipDecoder(), [data[i : i + cut] for i in range(0, len(data), cut)], -1)


@every_inflater
def test_each_broken_bit_is_seen_by_all_modules_or_none(inflater: Any) -> None:
    """The modules must not disagree about what a body says."""

    def outcome(module: Any, data: bytes) -> bytes | None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_decoding, "_zlib_for_gzip", lambda: module)
            try:
                decoder = GzipDecoder()
                return decoder.decompress(data) + decoder.flush()
            except DecodeError:
                return None

    data = gzip.compress(b"one two three " * 9, mtime=0)
    for at in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[at] ^= 1 << bit
            assert outcome(inflater, bytes(broken)) == outcome(zlib, bytes(broken)), (at, bit)


# -- brotli ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 10**9])
def test_bytes_after_a_brotli_stream_are_an_error(size: int) -> None:
    with pytest.raises(DecodeError, match="malformed br"):
        decode(BrotliDecoder(), split(brotli.compress(TEXT) + b"garbage", size))


class OldDecompressor:
    """brotli before 1.2.0: no limit on the output."""

    def __init__(self) -> None:
        self._codec = brotli.Decompressor()

    def process(self, data: bytes) -> bytes:
        result: bytes = self._codec.process(data)
        return result

    def is_finished(self) -> bool:
        return bool(self._codec.is_finished())


class AncientDecompressor:
    """brotlipy: another name, and no way to ask for the end."""

    def __init__(self) -> None:
        self._codec = brotli.Decompressor()

    def decompress(self, data: bytes) -> bytes:
        result: bytes = self._codec.process(data)
        return result


@pytest.fixture
def fresh_caches() -> Iterator[None]:
    """What was found out about installed packages is forgotten before and after."""
    caches = (
        _decoding.available_codings,
        _decoding._brotli_name,
        _decoding._zstd_name,
        _decoding._brotli,
        _decoding._zstd,
        _decoding._brotli_is_bounded,
    )
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("fresh_caches")
@pytest.mark.parametrize("decompressor", [OldDecompressor, AncientDecompressor])
def test_an_old_brotli_works_and_warns(monkeypatch: pytest.MonkeyPatch, decompressor: type) -> None:
    """Its output cannot be bounded, so memory is at the server's mercy."""
    old = SimpleNamespace(Decompressor=decompressor, error=brotli.error)
    monkeypatch.setattr(_decoding, "_brotli", lambda: old)
    with pytest.warns(DependencyWarning, match=r"brotli>=1\.2\.0"):
        decoder = BrotliDecoder()
    assert decode(decoder, split(brotli.compress(TEXT), 5), 7) == TEXT


# -- bombs ----------------------------------------------------------------------------------------

BOMB = 64 * MIB


def _deflate_bomb() -> bytes:
    codec = zlib.compressobj(9)
    block = bytes(MIB)
    return b"".join(codec.compress(block) for _ in range(BOMB // MIB)) + codec.flush()


@every_inflater
@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("deflate", lambda bomb: bomb),
        ("deflate, gzip", gzip.compress),
        ("deflate, gzip, br", lambda bomb: brotli.compress(gzip.compress(bomb))),
        ("deflate, zstd", zstd.compress),
    ],
)
def test_a_bomb_is_decoded_in_bounded_memory(name: str, encode: Encoder) -> None:
    body = encode(_deflate_bomb())
    decoder = get_decoder(name)
    assert decoder is not None
    tracemalloc.start()
    try:
        size = len(decoder.decompress(body, 10_000))
        while decoder.has_unconsumed_tail and size < BOMB // 8:
            size += len(decoder.decompress(b"", 10_000))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert size >= BOMB // 8


@every_inflater
@pytest.mark.parametrize("name", ["br", "zstd", "gzip"])
def test_a_bomb_of_one_coding_is_decoded_in_bounded_memory(name: str) -> None:
    encode, new = CODINGS[name]
    body, decoder = encode(bytes(16 * MIB)), new()
    decoder.decompress(b"")
    tracemalloc.start()
    try:
        size = len(decoder.decompress(body, 1000))
        while size < MIB:
            size += len(decoder.decompress(b"", 1000))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@every_inflater
@pytest.mark.parametrize("name", ["br", "zstd", "gzip"])
def test_content_that_is_decoded_whole_is_not_held_twice(name: str) -> None:
    encode, new = CODINGS[name]
    body, decoder = encode(random.Random(1).randbytes(MIB // 64) * 256), new()
    decoder.decompress(b"")
    tracemalloc.start()
    try:
        assert len(decoder.decompress(body)) == 4 * MIB
        assert tracemalloc.get_traced_memory()[1] < 6 * MIB
    finally:
        tracemalloc.stop()


@every_inflater
def test_a_chain_that_expands_to_nothing_ends_with_an_error() -> None:
    """Empty blocks expand a thousandfold at each link and never yield a byte of content."""
    empty_blocks = b"\x00\x00\x00\xff\xff" * (5 * MIB)
    decoder = MultiDecoder("deflate, deflate")
    with pytest.raises(DecodeError, match="bytes passed between the content encodings"):
        decoder.decompress(zlib.compress(empty_blocks), 1000)


@every_inflater
def test_a_chain_that_drops_what_follows_its_inner_stream_ends_with_an_error() -> None:
    body = zlib.compress(zlib.compress(b"x") + bytes(20 * MIB))
    decoder = MultiDecoder("deflate, deflate")
    with pytest.raises(DecodeError, match="bytes passed between the content encodings"):
        decode(decoder, [body], 1000)


@every_inflater
def test_a_chain_that_hardly_compresses_is_not_taken_for_a_bomb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What passes between the codings may be many times the free allowance."""
    monkeypatch.setattr(_decoding, "_FREE_LINK_BYTES", 100_000)
    content = random.Random(6).randbytes(400_000)
    body = gzip.compress(gzip.compress(gzip.compress(content)))
    assert decode(MultiDecoder("gzip, gzip, gzip"), [body], 10_000) == content


# -- chains and choice ----------------------------------------------------------------------------


@every_inflater
def test_a_chain_whose_inner_stream_is_cut_is_an_error() -> None:
    inner = zlib.compress(TEXT)
    for cut in (0, 1, len(inner) - 1):
        with pytest.raises(DecodeError, match="ended before"):
            decode(MultiDecoder("deflate, gzip"), [gzip.compress(inner[:cut])])


@pytest.mark.parametrize("make", [MultiDecoder, get_decoder])
def test_more_than_five_codings_are_refused(make: Any) -> None:
    assert make("gzip, " * 4 + "gzip") is not None
    with pytest.raises(DecodeError, match=r"^Too many content encodings in the chain: 6 > 5$"):
        make("gzip, " * 5 + "gzip")


@pytest.mark.parametrize("modes", ["nonsense", "gzip, nonsense", "", "identity"])
def test_a_chain_of_what_is_unknown_is_refused(modes: str) -> None:
    with pytest.raises(DecodeError, match="cannot decode content encoding"):
        MultiDecoder(modes)


@pytest.mark.parametrize(
    ("content_encoding", "expected"),
    [
        ("gzip", GzipDecoder),
        ("x-gzip", GzipDecoder),
        ("X-GZip", GzipDecoder),
        (" deflate ", DeflateDecoder),
        ("br", BrotliDecoder),
        ("ZSTD", ZstdDecoder),
        ("gzip, deflate", MultiDecoder),
        ("identity, gzip", MultiDecoder),
        (",gzip,", GzipDecoder),
        ("", None),
        (",", None),
        ("identity", None),
        ("Identity, identity", None),
        ("compress", None),
        ("gzip, nonsense", None),
        ("nonsense, " * 9 + "gzip", None),
    ],
)
def test_the_decoder_for_a_content_encoding(content_encoding: str, expected: type | None) -> None:
    decoder = get_decoder(content_encoding)
    assert decoder is None if expected is None else type(decoder) is expected


@pytest.mark.parametrize("content_encoding", ["identity, gzip", "gzip, identity", "gzip ,IDENTITY"])
def test_identity_in_a_list_does_nothing(content_encoding: str) -> None:
    """urllib3 takes it for deflate and returns an empty body."""
    decoder = get_decoder(content_encoding)
    assert decoder is not None
    assert decode(decoder, [gzip.compress(TEXT)], 100) == TEXT


def test_available_codings() -> None:
    assert available_codings() == ("gzip", "x-gzip", "deflate", "br", "zstd")


@pytest.mark.usefixtures("fresh_caches")
def test_without_the_optional_packages_their_codings_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("brotli", "brotlicffi", "_zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert available_codings() == ("gzip", "x-gzip", "deflate")
    assert get_decoder("br") is None
    assert get_decoder("gzip, zstd") is None
    with pytest.raises(ImportError, match=r"urllib4\[brotli\]"):
        BrotliDecoder()
    with pytest.raises(ImportError, match=r"urllib4\[zstd\]"):
        ZstdDecoder()


@pytest.mark.usefixtures("fresh_caches")
def test_a_package_that_is_installed_but_broken_counts_as_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.import_module

    def broken(name: str, package: str | None = None) -> ModuleType:
        if name in ("brotli", "brotlicffi"):
            raise ImportError("undefined symbol")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    assert get_decoder("br") is None


def test_the_optional_packages_are_loaded_when_a_body_needs_them() -> None:
    program = (
        "import sys\n"
        "from urllib4 import _decoding\n"
        "assert 'br' in _decoding.available_codings()\n"
        "packages = {'brotli', 'brotlicffi', 'backports.zstd', 'compression.zstd'}\n"
        "loaded = packages & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "_decoding.get_decoder('br, zstd')\n"
        "assert 'brotli' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_decoder_of_somebody_else_needs_three_methods() -> None:
    base = ContentDecoder()
    assert base.finished
    for call in (lambda: base.decompress(b""), base.flush):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(NotImplementedError):
        assert base.has_unconsumed_tail


# -- BytesQueueBuffer -----------------------------------------------------------------------------


def test_a_queue_gives_out_what_was_put_in() -> None:
    buffer = BytesQueueBuffer()
    buffer.put(b"abc")
    buffer.put(b"")
    buffer.put(b"defg")
    assert len(buffer) == 7
    assert [buffer.get(2), buffer.get(3), buffer.get(0), buffer.get(9)] == [
        b"ab",
        b"cde",
        b"",
        b"fg",
    ]
    assert len(buffer) == 0
    assert buffer.get(0) == buffer.get_all() == b""


def test_an_empty_queue_has_nothing_to_get() -> None:
    with pytest.raises(RuntimeError, match="buffer is empty"):
        BytesQueueBuffer().get(1)


def test_a_negative_number_of_bytes_is_refused() -> None:
    buffer = BytesQueueBuffer()
    buffer.put(b"a")
    with pytest.raises(ValueError, match="-1"):
        buffer.get(-1)


def test_a_whole_chunk_is_handed_out_without_a_copy() -> None:
    chunk = bytes(1000)
    for get in (lambda buffer: buffer.get(1000), lambda buffer: buffer.get_all()):
        buffer = BytesQueueBuffer()
        buffer.put(chunk)
        assert get(buffer) is chunk


def test_taking_everything_does_not_need_twice_the_memory() -> None:
    tracemalloc.start()
    try:
        buffer = BytesQueueBuffer()
        for _ in range(10):
            buffer.put(bytes(MIB))
        assert len(buffer.get_all()) == 10 * MIB
        assert tracemalloc.get_traced_memory()[1] < 14 * MIB
    finally:
        tracemalloc.stop()


@given(st.lists(st.one_of(st.binary(max_size=8), st.integers(0, 12)), max_size=40))
def test_a_queue_is_a_queue(steps: list[bytes | int]) -> None:
    buffer, model = BytesQueueBuffer(), b""
    for step in steps:
        if isinstance(step, bytes):
            buffer.put(step)
            model += step
        elif model or not step:
            assert buffer.get(step) == model[:step]
            model = model[step:]
        assert len(buffer) == len(model)
    assert buffer.get_all() == model
