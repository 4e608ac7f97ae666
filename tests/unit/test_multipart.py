"""urllib4.multipart: the bytes of encode_multipart_formdata, piece by piece."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import tempfile
import threading
import tracemalloc
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4._file_body import BLOCK_BYTES, FileRun
from urllib4.exceptions import BodyChangedError, InvalidFieldError
from urllib4.fields import RequestField
from urllib4.filepost import encode_multipart_formdata
from urllib4.multipart import MultipartEncoder

BOUNDARY = "3f0c8bb3d9f14c2f"
LARGE = 3 * BLOCK_BYTES + 17


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    return path


def values(data: bytes, kind: str, stack: ExitStack) -> Any:
    """Return `data` as one of the things that a field may hold; each call makes a new one."""
    if kind == "bytes":
        return data
    if kind == "BytesIO":
        return io.BytesIO(data)
    if kind == "behind the start":
        file = io.BytesIO(b"passed" + data)
        file.seek(6)
        return file
    if kind == "pipe":
        return Pipe(data)
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file


class Pipe:
    """A file that can only be read."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, n: int = -1) -> bytes:
        return self._file.read(n)


KINDS = ["bytes", "BytesIO", "behind the start", "pipe", "file"]
FIELDS = st.lists(
    st.tuples(
        st.text(alphabet="abcä ", min_size=1, max_size=4), st.binary(), st.sampled_from(KINDS)
    ),
    max_size=5,
)


@given(FIELDS, st.lists(st.integers(1, 80), min_size=1, max_size=5))
def test_every_way_to_read_gives_the_bytes_of_the_encoder_in_memory(
    fields: list[tuple[str, bytes, str]], sizes: list[int]
) -> None:
    def made() -> MultipartEncoder:
        return MultipartEncoder(
            [(name, ("f", values(data, kind, stack))) for name, data, kind in fields], BOUNDARY
        )

    expected, content_type = encode_multipart_formdata(
        [(name, ("f", data)) for name, data, _ in fields], BOUNDARY
    )
    with ExitStack() as stack:
        encoder = made()
        assert encoder.content_type == content_type
        if all(kind != "pipe" for _, _, kind in fields):
            assert len(encoder) == len(expected)
        assert encoder.read() == expected
        assert encoder.tell() == len(expected)

        encoder, pieces = made(), []
        while piece := encoder.read(sizes[len(pieces) % len(sizes)]):
            assert len(piece) == sizes[len(pieces) % len(sizes)] or not encoder.read(1)
            pieces.append(piece)
        assert b"".join(pieces) == expected

        buffer = bytearray(len(expected) + 9)
        assert made().readinto(buffer) == len(expected)
        assert buffer[: len(expected)] == expected
        assert b"".join(made()) == expected
        assert b"".join(map(bytes, made().pieces(views=True))) == expected


@given(st.data(), st.binary(max_size=60), st.sampled_from([None, BOUNDARY]))
def test_it_can_go_to_any_position(data: Any, content: bytes, boundary: str | None) -> None:
    with ExitStack() as stack:
        fields = {
            "a": "one",
            "b": ("b", values(content, "file", stack)),
            "c": ("c", values(content, "behind the start", stack)),
            "d": "two",
        }
        encoder = MultipartEncoder(fields, boundary)
        whole = encoder.read()
        for _ in range(4):
            position = data.draw(st.integers(0, len(whole)))
            assert encoder.seek(position) == encoder.tell() == position
            amount = data.draw(st.integers(0, len(whole)))
            assert encoder.read(amount) == whole[position : position + amount]
            assert encoder.length_left() == len(whole) - encoder.tell()
        assert encoder.seek(-3, os.SEEK_END) == len(whole) - 3
        assert encoder.seek(1, os.SEEK_CUR) == len(whole) - 2
        assert encoder.read() == whole[-2:]


@pytest.mark.parametrize("position", [-1, 10**6])
def test_a_position_outside_is_refused(position: int) -> None:
    with pytest.raises(ValueError, match=r"no position of this body: -?\d+"):
        MultipartEncoder({"a": "1"}).seek(position)
    with pytest.raises(ValueError, match=r"whence is 0, 1 or 2, not 3"):
        MultipartEncoder({"a": "1"}).seek(0, 3)


def test_a_path_is_sent_under_its_own_name(large: Path) -> None:
    encoder = MultipartEncoder({"data": large}, BOUNDARY)
    assert len(encoder) == len(encoder.read())
    encoder.seek(0)
    with large.open("rb") as file:
        field = ("large.bin", file, "application/octet-stream")
        assert encoder.read() == encode_multipart_formdata({"data": field}, BOUNDARY)[0]
    assert encode_multipart_formdata({"data": large}, BOUNDARY)[0] == b"".join(
        MultipartEncoder({"data": ("large.bin", large)}, BOUNDARY)
    )


def test_a_large_file_in_runs_of_the_system(large: Path) -> None:
    with large.open("rb") as file:
        file.seek(5)
        encoder = MultipartEncoder({"a": ("a", file), "b": ("b", large), "c": "1"})
        whole = encoder.read()
        assert file.tell() == LARGE
        encoder.seek(0)
        pieces = []
        for piece in encoder.pieces(runs=True, most=BLOCK_BYTES):
            assert len(piece) <= BLOCK_BYTES
            pieces.append((type(piece), bytes(piece)))
        assert b"".join(data for _, data in pieces) == whole
        in_runs = sum(len(data) for kind, data in pieces if kind is FileRun)
        assert in_runs == 2 * LARGE - 5
        assert file.tell() == LARGE


def test_a_body_given_up_leaves_the_file_behind_what_was_sent(large: Path) -> None:
    with large.open("rb") as file:
        pieces = MultipartEncoder({"a": ("a", file)}).pieces(runs=True, most=BLOCK_BYTES)
        next(pieces), next(pieces), next(pieces)
        pieces.close()
        assert file.tell() == BLOCK_BYTES


@pytest.mark.parametrize("runs", [True, False], ids=["by the system", "in blocks"])
@pytest.mark.parametrize("change", [-1, 1, -LARGE], ids=["shorter", "longer", "empty"])
@pytest.mark.parametrize("kind", ["file", "path"])
def test_a_file_that_changes_is_noticed_before_the_last_byte(
    large: Path, change: int, runs: bool, kind: str
) -> None:
    """Else the rest of the body would be read as another length than was announced."""
    with large.open("rb") as file:
        encoder = MultipartEncoder({"a": ("a", file if kind == "file" else large), "b": "1"})
        sent = bytearray()
        pieces = encoder.pieces(runs=runs, most=BLOCK_BYTES)
        for _ in range(2):
            sent += bytes(next(pieces))
        os.truncate(large, LARGE + change)
        with pytest.raises(BodyChangedError, match=r"the file of field 'a' became (short|long)er"):
            sent.extend(itertools.chain.from_iterable(map(bytes, pieces)))
        assert len(sent) < len(encoder)
        encoder.close()


def test_other_objects_that_change_are_noticed_as_well() -> None:
    file = io.BytesIO(b"12345")
    encoder = MultipartEncoder({"a": ("a", file)})
    file.truncate(4)
    with pytest.raises(BodyChangedError, match="became shorter"):
        encoder.read()
    file = io.BytesIO(b"12345")
    encoder = MultipartEncoder({"a": ("a", file)})
    file.seek(0, 2)
    file.write(b"6")
    with pytest.raises(BodyChangedError, match="became longer"):
        encoder.read()


def test_what_cannot_tell_its_length_is_read_once() -> None:
    encoder = MultipartEncoder({"a": "0", "b": ("b", Pipe(b"12345"))})
    with pytest.raises(TypeError, match="the length of this body is not known"):
        len(encoder)
    assert encoder
    assert encoder.length_left() is None
    assert not encoder.seekable()
    assert encoder.read(3) == b"--" + encoder.boundary[:1].encode()
    encoder.seek(0)  # nothing of it was read yet
    assert b"12345" in encoder.read()
    with pytest.raises(io.UnsupportedOperation, match="cannot go back"):
        encoder.seek(0)
    with pytest.raises(io.UnsupportedOperation):
        encoder.seek(0, os.SEEK_END)


def test_a_compressed_file_is_sent_as_it_reads_and_can_be_sent_again(tmp_path: Path) -> None:
    """Its descriptor is that of the compressed file, whose length is another one."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"content" * 100_000))
    with gzip.open(path) as file:
        encoder = MultipartEncoder({"a": ("a", file)}, BOUNDARY)
        whole = encoder.read()
        encoder.seek(0)
        assert b"".join(map(bytes, encoder.pieces(runs=True))) == whole
    assert whole == encode_multipart_formdata({"a": ("a", b"content" * 100_000)}, BOUNDARY)[0]


@pytest.mark.parametrize(
    "make",
    [io.StringIO, lambda: tempfile.NamedTemporaryFile("w+", encoding="latin-1")],  # noqa: SIM115
    ids=["StringIO", "NamedTemporaryFile"],
)
def test_text_is_read_at_once_and_sent_as_utf8(make: Any) -> None:
    with make() as file:
        file.write("öl")
        file.seek(0)
        assert (
            MultipartEncoder({"a": ("a", file)}, BOUNDARY).read()
            == encode_multipart_formdata({"a": ("a", "öl".encode())}, BOUNDARY)[0]
        )


def test_an_empty_file_has_a_length(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with path.open("rb") as file:
        encoder = MultipartEncoder({"a": ("a", file), "b": ("b", path)})
        assert len(encoder) == len(encoder.read())


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_files_that_say_they_are_empty_are_read() -> None:
    path = Path("/proc/self/status")
    assert b"\nPid:" in MultipartEncoder({"a": path}).read()
    with path.open("rb") as file:
        encoder = MultipartEncoder({"a": ("a", file)})
        assert b"\nPid:" in (whole := encoder.read())
        assert len(whole) == len(encoder)


def test_one_file_in_two_fields_is_read_by_the_first() -> None:
    file, same = io.BytesIO(b"once"), io.BytesIO(b"once")
    given = MultipartEncoder([("a", ("a", file)), ("b", ("b", file))], BOUNDARY)
    assert (
        given.read()
        == encode_multipart_formdata([("a", ("a", same)), ("b", ("b", same))], BOUNDARY)[0]
    )


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_a_boundary_of_the_caller_is_searched_for_in_files(block: int) -> None:
    data = b"x" * 100 + b"\n--" + BOUNDARY.encode() + b"x"
    encoder = MultipartEncoder({"a": ("a", io.BytesIO(data))}, BOUNDARY)
    with pytest.raises(InvalidFieldError, match=f"'{BOUNDARY}' occurs in the data .* of field 'a'"):
        list(iter(lambda: encoder.read(block), b""))
    encoder.seek(encoder.tell())
    with pytest.raises(InvalidFieldError):
        MultipartEncoder({"a": ("a", io.BytesIO(data[101:]))}, BOUNDARY).read()
    with pytest.raises(InvalidFieldError):
        MultipartEncoder({"a": data}, BOUNDARY)


def test_files_from_paths_are_open_only_while_they_are_read(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def recorded(*args: Any) -> Any:
        opened.append(open(*args))  # noqa: SIM115
        return opened[-1]

    monkeypatch.setattr("urllib4.multipart.open", recorded, raising=False)
    encoder = MultipartEncoder({"a": large, "b": large})
    assert [file.closed for file in opened] == [True, True]
    encoder.read(BLOCK_BYTES)
    assert [file.closed for file in opened[2:]] == [False]
    encoder.read(LARGE)
    assert [file.closed for file in opened[2:]] == [True, False]
    encoder.seek(1)
    assert all(file.closed for file in opened)
    encoder.read(BLOCK_BYTES)
    with encoder:
        pass
    assert all(file.closed for file in opened)


def test_a_path_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MultipartEncoder({"a": tmp_path / "missing"})
    with pytest.raises(IsADirectoryError):
        MultipartEncoder({"a": tmp_path})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_not_opened_before_its_turn(tmp_path: Path) -> None:
    """To open one waits for its writer."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    encoder = MultipartEncoder({"a": path})
    assert encoder.length_left() is None
    writer = threading.Thread(target=path.write_bytes, args=[b"through the pipe"])
    writer.start()
    assert b"through the pipe" in encoder.read()
    writer.join()


@pytest.mark.parametrize("value", [None, 5], ids=["None", "a number"])
def test_what_read_returns_is_checked(value: Any) -> None:
    class Broken(io.RawIOBase):
        def read(self, n: int = -1) -> Any:
            return value

    with pytest.raises(TypeError, match=r"read\(\) of the file of field 'a' returned"):
        MultipartEncoder({"a": ("a", Broken())}).read()


def test_fields_of_a_type_that_cannot_be_sent_are_refused() -> None:
    with pytest.raises(TypeError, match="data of field 'a' must be"):
        MultipartEncoder([("a", [1])])  # type: ignore[list-item]
    with pytest.raises(InvalidFieldError, match="not a boundary"):
        MultipartEncoder({}, "ä")


def test_field_objects_keep_their_headers() -> None:
    field = RequestField("a", io.BytesIO(b"1"), headers={"X-Part": "yes"})
    field.make_multipart(content_type="text/x-mine")
    assert (
        b"Content-Type: text/x-mine\r\nX-Part: yes\r\n\r\n1\r\n" in MultipartEncoder([field]).read()
    )


def test_memory_does_not_follow_the_size(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        encoder = MultipartEncoder({"a": path})
        assert sum(map(len, encoder.pieces(views=True))) == len(encoder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
