"""What goes over one connection: requests that are right, almost right, and none at all.

`SLOT` stands for the id of the upload under test, and has the length of one; the upload is at
`OFFSET` of `LENGTH` bytes.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.fuzz import fields as f
from tests.fuzz.noise import junk, mutated, near, wild

SLOT = b"UPLOADIDUPLOADIDUPLOAD"
OFFSET = 7
LENGTH = 100
ENDINGS = ("finish", "finish", "finish", "finish", "finish", "linger", "reset")

_UPLOAD = b"/files/" + SLOT
_PATHS = (
    *(b"/files/" + SLOT + b"?x=1", b"/files/%55PLOADIDUPLOADIDUPLOAD", b"/files/" + SLOT + b"/"),
    *(b"/files/", b"/files", b"/files/?a", b"//files/", b"/files/%2e%2e/", b"/files/../files/"),
    *(b"/files/AAAAAAAAAAAAAAAAAAAAAA", b"/files/%00", b"/files/%ff%fe", b"/files/a%2fb", b"/"),
    *(b"*", b"http://other.example/files/", b"http://other.example", b"other.example:443", b""),
    *(b"/files/" + b"x" * 3000, b"/" + b"%41" * 30_000, b"/files/\xff", b"/files/?\xff", b"/\t"),
)
_METHODS = (b"GET", b"OPTIONS", b"HEAD", b"DELETE", b"PATCH", b"POST", b"PUT", b"TRACE", b"CONNECT")
_ODD_METHODS = (b"patch", b"PRI", b"FOO", b"M-SEARCH", b"QUERY", b"", b"P\0ST", b"POST POST")
_VERSIONS = (
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.2",
    b"HTTP/11",
    b"http/1.1",
    b"RTSP/1.0",
)
_CHUNKS = (
    b"5\r\nabcde\r\n0\r\nUpload-Checksum: " + f.CHECKSUM + b"\r\n\r\n",
    *(b"5\r\nabcde\r\n0\r\n\r\n", b"5;a=b\r\nabcde\r\n0\r\n\r\n", b"005\r\nabcde\r\n0\r\n\r\n"),
    *(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", b"0\r\n\r\n", b"0\r\nUpload-Offset: 9\r\n\r\n"),
    *(b"5\r\nabcde\r\n0\r\nUpload-Checksum: sha1 AA==\r\nX: y\r\n\r\n", b"5\r\nabcde0\r\n\r\n"),
    *(
        b"zz\r\nabcde\r\n",
        b"-5\r\nabcde\r\n0\r\n\r\n",
        b"5 \r\nabcde\r\n0\r\n\r\n",
        b"5\nabcde\n0\n\n",
    ),
    *(
        b"FFFFFFFFFFFFFFFF\r\na",
        b"FFFFFFFFFFFFFFFFF\r\na",
        b"5\r\nabc",
        b"5\r\nabcdefg\r\n0\r\n\r\n",
    ),
    *(b"5;" + b"e" * 20_000 + b"\r\nabcde\r\n0\r\n\r\n", b"0\r\n" + b"T: t\r\n" * 2000 + b"\r\n"),
    b"ffff\r\n" + b"z" * 0xFFFF + b"\r\n0\r\n\r\n",
)
_SIMPLE = (
    b"HEAD " + _UPLOAD + b" HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n\r\n",
    b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"POST /files/ HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n\r\n",
    b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes for one connection, where they are cut into sends, and how the connection ends."""

    data: bytes
    cuts: tuple[int, ...] = ()
    ending: str = "finish"

    @property
    def pieces(self) -> list[bytes]:
        """The sends."""
        marks = sorted({0, *(cut % (len(self.data) + 1) for cut in self.cuts), len(self.data)})
        return [self.data[a:b] for a, b in itertools.pairwise(marks)]

    def aimed(self, upload_id: str) -> Message:
        """The same at an upload that exists."""
        return Message(self.data.replace(SLOT, upload_id.encode()), self.cuts, self.ending)

    def may_append(self, upload_id: str) -> bool:
        """Whether some of it may be a PATCH that the upload has to take, be it cut short."""
        text = self.data
        return (
            upload_id.encode() in text
            and b"PATCH" in text.upper()
            and b"offset+octet-stream" in text.lower()
            and re.search(rb"(?im)^upload-offset:[ \t]*0*7[ \t]*$", text.replace(b"\r", b""))
            is not None
        )

    @property
    def creations_max(self) -> int:
        """How many uploads it may make."""
        said = re.findall(rb"(?i)upload-(?:defer-)?length", self.data)
        return min(len(said), self.data.upper().count(b"POST"))

    def deletes(self, upload_id: str) -> bool:
        """Whether some of it may be a DELETE of the upload."""
        return upload_id.encode() in self.data and b"DELETE" in self.data.upper()

    @property
    def may_be_cut(self) -> bool:
        """Whether a body in it may end before its end, or be malformed before it."""
        framed = re.search(rb"(?i)content-length|transfer-encoding", self.data)
        return framed is not None and not self.first_is_whole

    @property
    def first_is_whole(self) -> bool:
        """Whether it begins with a request whose body, of a stated length, is all there."""
        head, mark, rest = self.data.partition(b"\r\n\r\n")
        lengths = re.findall(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?=\r|\Z)", head)
        framed_otherwise = re.search(rb"(?i)transfer-encoding|expect|upgrade|\n\n", head)
        return bool(mark and not framed_otherwise and len(lengths) == 1) and (
            len(rest) >= int(lengths[0])
        )


def _rendered(
    method: bytes, path: bytes, version: bytes, pairs: list[f.Pair], body: bytes
) -> bytes:
    lines = [b" ".join((method, path, version)), *(name + b": " + value for name, value in pairs)]
    return b"\r\n".join([*lines, b"", b""]) + body


_kinds = st.sampled_from(("PATCH", "PATCH", "POST", "POST", "other"))
_wrong_parts = st.sampled_from(("", "", "", "method", "path", "version"))
_methods = st.sampled_from(_METHODS)
_wrong_methods = st.sampled_from(_METHODS + _ODD_METHODS) | wild
_paths = st.sampled_from((_UPLOAD, *_PATHS))
_wrong_paths = near((_UPLOAD, *_PATHS))
_wrong_versions = near(_VERSIONS)
_hosts = st.sampled_from((*((((b"Host", b"a.example"),),) * 9), ()))
_appends, _creates, _plain = f.sets(f.APPEND), f.sets(f.CREATE), f.sets(f.PLAIN)
_chunked = st.sampled_from(_CHUNKS) | mutated(st.sampled_from(_CHUNKS))
_counted = st.sampled_from((*((b"abcde",) * 4), b"", b"abc", b"abcdefg", b"y" * 100_000))
_unannounced = st.sampled_from((*((b"",) * 5), b"abcde", b"\r\n", *_CHUNKS[1:3]))


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """One request; mostly each of its parts is right, or nearly."""
    kind = draw(_kinds)
    if kind == "PATCH":
        method, path, headers = b"PATCH", _UPLOAD, draw(_appends)
    elif kind == "POST":
        method, path, headers = b"POST", b"/files/", draw(_creates)
    else:
        method, path, headers = draw(_methods), draw(_paths), draw(_plain)
    version = b"HTTP/1.1"
    wrong = draw(_wrong_parts)
    if wrong == "method":
        method = draw(_wrong_methods)
    elif wrong == "path":
        path = draw(_wrong_paths)
    elif wrong == "version":
        version = draw(_wrong_versions)
    headers = [*draw(_hosts), *headers]
    return _rendered(method, path, version, headers, draw(_bodies(headers)))


def _bodies(headers: list[f.Pair]) -> st.SearchStrategy[bytes]:
    """Bodies that go with the headers, or do not."""
    names = {name.lower() for name, _ in headers}
    if b"transfer-encoding" in names:
        return _chunked
    return _counted if b"content-length" in names else _unannounced


_several = st.lists(_requests() | st.sampled_from(_SIMPLE), min_size=2, max_size=3).map(b"".join)
_times = st.sampled_from((2, 2, 2, 3, 3, 5, 5, 9, 9, 30, 30, 1500))
_repeated = st.builds(lambda one, times: one * times, st.sampled_from(_SIMPLE), _times)
_overlong = st.builds(
    lambda start, one, times: start + one * times,
    st.sampled_from([b"PATCH ", b"POST /files/ HTTP/1.1\r\n", b"OPTIONS /files/ HTTP/1.1\r\nA: "]),
    st.sampled_from([b"X: " + b"y" * 97 + b"\r\n", b"z" * 100, b"\r\n", b"\0" * 100]),
    st.sampled_from([100, 656, 700, 2000]),
)
_streams = st.one_of(
    _requests(),
    _requests(),
    _requests(),
    mutated(_requests()),
    mutated(_requests()),
    _several,
    st.builds(bytes.__add__, _requests(), junk),
    _repeated | _overlong | wild,
)

messages = st.builds(
    Message,
    _streams,
    st.lists(st.integers(0, 400), max_size=2).map(tuple),
    st.sampled_from(ENDINGS),
)
