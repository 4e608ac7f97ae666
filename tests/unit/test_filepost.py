"""urllib4.filepost: whole multipart bodies, read back by the standard library's parser."""

from __future__ import annotations

import codecs
import io
import re
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4 import filepost
from urllib4.exceptions import HTTPError, InvalidFieldError
from urllib4.fields import RequestField
from urllib4.filepost import choose_boundary, encode_multipart_formdata, iter_field_objects


def shown(value: object) -> str:
    """Name a case; addresses would give each of several test processes other names."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def parse(body: bytes, content_type: str) -> list[tuple[Any, Any, str, bytes]]:
    """Return (name, filename, content type, data) of each part."""
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    assert message.is_multipart()
    assert not message.defects
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in message.get_payload()
    ]


def test_the_five_kinds_of_fields_arrive(tmp_path: Path) -> None:
    (tmp_path / "barfile.txt").write_bytes(b"real")
    with open(tmp_path / "barfile.txt", "rb") as file:
        body, content_type = encode_multipart_formdata(
            {
                "foo": "bar",
                "fakefile": ("foofile.txt", "contents of foofile"),
                "realfile": ("barfile.txt", file.read()),
                "typedfile": ("bazfile.bin", b"\x00\xff\r\n", "image/jpeg"),
                "nonamefile": "contents of nonamefile field",
            }
        )
    assert parse(body, content_type) == [
        ("foo", None, "text/plain", b"bar"),
        ("fakefile", "foofile.txt", "text/plain", b"contents of foofile"),
        ("realfile", "barfile.txt", "text/plain", b"real"),
        ("typedfile", "bazfile.bin", "image/jpeg", b"\x00\xff\r\n"),
        ("nonamefile", None, "text/plain", b"contents of nonamefile field"),
    ]


def test_exact_bytes() -> None:
    body, content_type = encode_multipart_formdata([("a", "1"), ("a", ("f", b"2"))], "xx")
    assert content_type == "multipart/form-data; boundary=xx"
    assert body == (
        b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--xx\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n2\r\n"
        b"--xx--\r\n"
    )


def test_no_fields_give_the_end_line() -> None:
    assert encode_multipart_formdata({}, "xx")[0] == b"--xx--\r\n"
    assert encode_multipart_formdata([], "xx")[0] == b"--xx--\r\n"


class OpenFile:
    """The least that counts as an open file."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def read(self) -> Any:
        return self.content


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ("é", "é".encode()),
        (b"\xff", b"\xff"),
        (5, b"5"),
        (True, b"True"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (memoryview(b"\x01\x00\x02\x00").cast("H"), b"\x01\x00\x02\x00"),
        (io.BytesIO(b"ab"), b"ab"),
        (io.StringIO("é"), "é".encode()),
        (OpenFile(b"ab"), b"ab"),
    ],
    ids=shown,
)
def test_every_kind_of_data_is_sent_as_bytes(data: Any, sent: bytes) -> None:
    assert parse(*encode_multipart_formdata({"a": ("f.bin", data, "a/b")}))[0][3] == sent


def test_a_file_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"header body")
    file.seek(7)
    assert parse(*encode_multipart_formdata({"a": ("f.bin", file)}))[0][3] == b"body"


@pytest.mark.parametrize("data", [None, 1.5, [1, 2], {}, OpenFile(None), OpenFile([1])], ids=shown)
def test_data_of_another_type_is_a_type_error_that_names_the_field(data: Any) -> None:
    with pytest.raises(TypeError, match=r"field 'a' must be str, bytes, int, an open file"):
        encode_multipart_formdata([("b", "1"), ("a", data)])


@pytest.mark.parametrize(
    "fields",
    ["ab", b"ab", 5, None, [("a",)], [("a", "b", "c")], ["ab"], [5]],
    ids=shown,
)
def test_fields_of_another_type_are_a_type_error(fields: Any) -> None:
    with pytest.raises(TypeError, match="must be"):
        encode_multipart_formdata(fields)


def test_pairs_and_field_objects_may_be_mixed() -> None:
    own = RequestField("b", "2", headers={"X-Mine": "1"})
    own.make_multipart()
    objects = list(iter_field_objects([("a", "1"), own, ["c", "3"]]))
    assert [field._name for field in objects] == ["a", "b", "c"]
    assert objects[1] is own
    body, _ = encode_multipart_formdata([("a", "1"), own], "xx")
    assert b"X-Mine: 1\r\n" in body


def test_names_may_be_bytes() -> None:
    assert parse(*encode_multipart_formdata({b"a": "1"}))[0][0] == "a"  # type: ignore[dict-item]


def test_a_chosen_boundary_is_32_hexadecimal_digits_and_new_each_time() -> None:
    boundaries = {choose_boundary() for _ in range(50)}
    assert len(boundaries) == 50
    assert all(re.fullmatch("[0-9a-f]{32}", boundary) for boundary in boundaries)


def test_choose_boundary_can_be_replaced_in_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorders of traffic need bodies that are the same each time."""
    monkeypatch.setattr(filepost, "choose_boundary", lambda: "##fixed##")
    assert encode_multipart_formdata({"a": "--##fixed##"})[1].endswith("boundary=##fixed##")


@pytest.mark.parametrize(
    ("boundary", "shown"),
    [
        ("a", "a"),
        ("a" * 70, "a" * 70),
        ("gc0p4Jq0M2Yt08jU534c0p", "gc0p4Jq0M2Yt08jU534c0p"),
        ("---+_.-!#$&^`|~", "---+_.-!#$&^`|~"),
        ("'a", '"\'a"'),
        ("a*b%c", '"a*b%c"'),
        ("a(b),c/d:e=f?g", '"a(b),c/d:e=f?g"'),
        (" a", '" a"'),
    ],
)
def test_a_boundary_is_quoted_where_it_must_be(boundary: str, shown: str) -> None:
    body, content_type = encode_multipart_formdata({"a": "1"}, boundary)
    assert content_type == f"multipart/form-data; boundary={shown}"
    assert parse(body, content_type) == [("a", None, "text/plain", b"1")]


def test_a_boundary_with_inner_spaces_is_sent_bare() -> None:
    """As urllib3 sends it; its own tests compare the whole Content-Type."""
    body, content_type = encode_multipart_formdata({"a": "1"}, "!! test boundary !!")
    assert content_type == "multipart/form-data; boundary=!! test boundary !!"
    message = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    assert [part.get_payload() for part in message.get_payload()] == ["1"]


@pytest.mark.parametrize(
    "boundary", ["", " ", "a ", "a" * 71, "é", 'a"b', "a\\b", "a;b", "a\r\nb", "a\n", "a\tb", "a\0"]
)
def test_what_is_no_boundary_is_refused(boundary: str) -> None:
    """RFC 2046, 5.1.1; a line's end in it would start another header."""
    with pytest.raises(InvalidFieldError, match="not a boundary") as caught:
        encode_multipart_formdata({"a": "1"}, boundary)
    assert isinstance(caught.value, (HTTPError, ValueError))


@pytest.mark.parametrize("boundary", [b"a", 5])
def test_a_boundary_of_another_type_is_a_type_error(boundary: Any) -> None:
    with pytest.raises(TypeError, match="boundary must be str"):
        encode_multipart_formdata({"a": "1"}, boundary)


@pytest.mark.parametrize("data", ["--xx", b"a\r\n--xx--\r\n", "a\n--xxy"])
def test_a_given_boundary_must_not_occur_in_the_data(data: Any) -> None:
    """Otherwise the data ends there and the rest counts as another part."""
    with pytest.raises(InvalidFieldError, match="'xx' occurs in the data or header of field 'a'"):
        encode_multipart_formdata({"a": data}, "xx")


def test_text_that_looks_like_a_boundary_within_a_line_is_no_delimiter() -> None:
    body, content_type = encode_multipart_formdata({"a": "see --xx"}, "xx")
    assert parse(body, content_type)[0][3] == b"see --xx"


@pytest.mark.parametrize(
    "fields",
    [{"a": "\ud800"}, {"\ud800": "a"}, {"a": ("\ud800", "b")}, {"a": ("f", "b", "\ud800")}],
    ids=ascii,
)
def test_text_that_utf8_cannot_write_is_refused(fields: Any) -> None:
    with pytest.raises(InvalidFieldError, match="UTF-8"):
        encode_multipart_formdata(fields)


def test_writer_is_the_stream_writer_of_utf8() -> None:
    stream = io.BytesIO()
    filepost.writer(stream).write("é")
    assert stream.getvalue() == "é".encode()
    assert isinstance(filepost.writer(stream), codecs.StreamWriter)


NAMES = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from('"\r\n\0\x0b;=-: \\')), max_size=12
)


@given(st.lists(st.tuples(NAMES, NAMES, st.binary(max_size=20), NAMES), max_size=4))
def test_whatever_the_fields_are_called_the_parts_are_as_many_and_hold_their_data(
    fields: list[tuple[str, str, bytes, str]],
) -> None:
    """No name, filename or type can end its part, its header or its line."""
    try:
        body, content_type = encode_multipart_formdata(
            [(name, (filename, data, kind)) for name, filename, data, kind in fields]
        )
    except InvalidFieldError:
        assert any(
            (ord(character) < 32 and character != "\t") or character == "\x7f"
            for name, filename, _, kind in fields
            for character in name + filename + kind
        )
        return
    delimiter = b"--" + content_type.partition("boundary=")[2].encode()
    parts = body.split(b"\r\n" + delimiter) if fields else []
    assert len(parts) == len(fields) + 1 if fields else body == delimiter + b"--\r\n"
    for part, (_, _, data, kind) in zip(parts, fields, strict=False):
        head, _, content = part.partition(b"\r\n\r\n")
        assert content == data
        lines = head.removeprefix(delimiter).strip(b"\r\n").split(b"\r\n")
        assert len(lines) == (2 if kind else 1)
        assert not any(byte < 32 and byte != 9 for line in lines for byte in line)
