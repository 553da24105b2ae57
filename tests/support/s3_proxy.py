"""A proxy between a server and S3 that counts calls and makes chosen ones fail.

Requests and answers stream through in both directions at once. The Host header goes on as it came:
S3 signatures cover it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.faults import (
    Answer,
    Break,
    Cut,
    Delay,
    Fault,
    Hold,
    Rewrite,
    Rule,
    RuleBook,
    Stage,
)
from tests.support.proxy import READ_BYTES, Proxy
from tests.support.s3_calls import Call, S3Call, classify

_BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class _Head:
    raw: bytes
    first_line: list[str]
    headers: dict[str, str]

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def content_length(self) -> int | None:
        length = self.headers.get("content-length")
        return None if length is None else int(length)


@dataclass(slots=True)
class _Withheld:
    """Takes an answer in the client's place."""

    data: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        return


class S3Proxy(Proxy):
    """Counts S3 calls by kind; `fail` makes the nth one of a kind fail."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(upstream)
        self.rules: RuleBook[Call] = RuleBook()
        self._calls: list[Call] = []

    @property
    def endpoint(self) -> str:
        """Where the server finds this proxy."""
        return f"http://127.0.0.1:{self.port}"

    def fail(
        self,
        kind: S3Call,
        fault: Fault,
        *,
        nth: int = 1,
        times: int | None = 1,
        key_part: str = "",
        part_number: int | None = None,
    ) -> Rule[Call]:
        """`fault` hits the `nth` call of this kind from now on, `times` times (None: for ever).

        key_part: only calls with this in their key count. part_number: only this part's.
        """

        def applies(call: Call) -> bool:
            return (
                call.kind is kind
                and key_part in call.key
                and (part_number is None or call.part_number == part_number)
            )

        return self.rules.add(applies, fault, nth=nth, times=times)

    def counts(self, key_part: str = "") -> Counter[S3Call]:
        """How many calls of each kind came so far, of those with `key_part` in their key."""
        return Counter(call.kind for call in list(self._calls) if key_part in call.key)

    @contextmanager
    def counting(self) -> Iterator[Counter[S3Call]]:
        """The calls that come within the block; filled in when it ends."""
        before, counted = self.counts(), Counter[S3Call]()
        yield counted
        counted.update(self.counts() - before)

    def calls(self, key_part: str = "") -> list[Call]:
        """The calls themselves, in the order they came."""
        return [call for call in list(self._calls) if key_part in call.key]

    def forget(self) -> None:
        """Drop what was noted of the calls so far."""
        self._calls.clear()

    async def handle(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """One exchange after the other; S3 clients do not pipeline."""
        while (head := await _read_head(client[0])) is not None:
            call = classify(head.first_line[0], head.first_line[1], head.headers)
            call.sent_bytes = head.content_length or 0
            self._calls.append(call)
            fault = self.rules.fault_for(call)
            if not await self._exchange(head, call, fault, client, store):
                return

    async def _exchange(
        self,
        head: _Head,
        call: Call,
        fault: Fault | None,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        if isinstance(fault, Answer):
            await _answer(head, call, fault, client)
            return True
        if fault is Cut.BEFORE:
            return False
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, Hold) and fault.stage is Stage.BEFORE:
            await fault.wait()
        if isinstance(fault, Break | Rewrite):
            return await _answer_changed(head, call, fault, client, store)
        withheld = _Withheld()
        withhold = fault is Cut.AFTER or isinstance(fault, Hold)
        await _forward(head, call, client, store, withheld if withhold else client[1])
        if fault is Cut.AFTER:
            return False
        if isinstance(fault, Hold):
            if fault.stage is Stage.AFTER:
                await fault.wait()
            client[1].write(bytes(withheld.data))
            await client[1].drain()
        return True


async def _answer(
    head: _Head,
    call: Call,
    fault: Answer,
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    if head.headers.get("expect", "").lower() != "100-continue":
        await _copy_body(head, client[0], _Withheld())
    call.status = fault.status
    body = fault.body
    if body is None:
        body = f"<Error><Code>{fault.code}</Code><Message>By the proxy.</Message></Error>".encode()
    client[1].write(
        b"HTTP/1.1 %d Fault\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
        % (fault.status, len(body))
    )
    client[1].write(b"" if head.first_line[0] == "HEAD" else body)
    await client[1].drain()


async def _forward(
    head: _Head,
    call: Call,
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    sink: asyncio.StreamWriter | _Withheld,
) -> None:
    store[1].write(head.raw)
    async with asyncio.TaskGroup() as both:
        both.create_task(_copy_body(head, client[0], store[1]))
        both.create_task(_copy_answer(head.first_line[0], call, store[0], client[1], sink))


async def _answer_changed(
    head: _Head,
    call: Call,
    fault: Break | Rewrite,
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> bool:
    """For requests without a body; whether the connection goes on."""
    store[1].write(head.raw)
    found = await _read_head(store[0])
    assert found is not None
    length = found.content_length or 0
    call.status = int(found.first_line[1])
    if isinstance(fault, Break):
        client[1].write(found.raw)
        await _copy(store[0], client[1], min(fault.after_bytes, length))
        return False
    kept = {k: v for k, v in found.headers.items() if k not in fault.without} | dict(fault.also)
    if fault.body is not None and "content-length" not in fault.also:
        kept["content-length"] = f"{len(fault.body)}"
    lines = [f"HTTP/1.1 {fault.status} Told", *(f"{name}: {kept[name]}" for name in kept), "", ""]
    client[1].write("\r\n".join(lines).encode("latin-1"))
    if fault.body is None:
        await _copy(store[0], client[1], length)
        return True
    client[1].write(fault.body)
    await client[1].drain()
    return False


async def _copy_answer(
    method: str,
    call: Call,
    store: asyncio.StreamReader,
    client: asyncio.StreamWriter,
    sink: asyncio.StreamWriter | _Withheld,
) -> None:
    while True:
        head = await _read_head(store)
        if head is None:
            raise ConnectionResetError("the store closed")
        status = int(head.first_line[1])
        if status >= 200:
            break
        client.write(head.raw)
    sink.write(head.raw)
    if method != "HEAD" and status not in _BODILESS:
        await _copy_body(head, store, sink)
    await sink.drain()
    call.status, call.answered_bytes = status, head.content_length or 0


async def _copy_body(
    head: _Head, source: asyncio.StreamReader, sink: asyncio.StreamWriter | _Withheld
) -> None:
    if head.is_chunked:
        await _copy_chunks(source, sink)
    else:
        await _copy(source, sink, head.content_length or 0)


async def _copy_chunks(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter | _Withheld
) -> None:
    size = -1
    while size != 0:
        line = await source.readuntil(b"\r\n")
        sink.write(line)
        size = int(line.split(b";")[0], 16)
        await _copy(source, sink, size + 2)


async def _copy(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter | _Withheld, count: int
) -> None:
    while count > 0:
        data = await source.read(min(count, READ_BYTES))
        if not data:
            raise ConnectionResetError("ended in mid-body")
        sink.write(data)
        await sink.drain()
        count -= len(data)


async def _read_head(source: asyncio.StreamReader) -> _Head | None:
    try:
        raw = await source.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return _Head(raw, first.split(" ", 2), headers)
