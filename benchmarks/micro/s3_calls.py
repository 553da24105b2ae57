"""What a PutObject, or an UploadPart, costs this process in CPU, by each way of sending it.

    python -m benchmarks.micro.s3_calls [--size 16384] [--calls 2000] [--rounds 40]

The other side is a process that answers 200 with an ETag as soon as the body is there. The ways
take turns in short rounds, so that a busy machine treats them alike; of each, the least of its
rounds counts. Also counted: calls of functions for one call to S3, which no load changes.

ways: `sdk` is aiobotocore; `ours` is `stores/s3/sending.py` as the server uses it; `aiohttp` is our
signature sent by aiohttp's client, under the same bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import multiprocessing
import os
import pstats
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import httptools
import uvloop
from yarl import URL

from tusd_s3 import limits
from tusd_s3.stores.s3.body import ChunkedBody
from tusd_s3.stores.s3.calls import Call, build_head
from tusd_s3.stores.s3.client import S3Clients, S3Options, open_s3
from tusd_s3.stores.s3.connection import WRITE_BYTES
from tusd_s3.stores.s3.failures import translated
from tusd_s3.stores.s3.operations import put_object
from tusd_s3.stores.s3.sending import Sender

CHUNK_BYTES = 64 * limits.KIB
"""As bodies come from clients."""

PROFILED_CALLS = 200

Way = Callable[[], Awaitable[object]]


class Sink(asyncio.Protocol):
    """Answers every PUT with an ETag, and takes what it is sent as fast as it comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(
            b'HTTP/1.1 200 OK\r\nETag: "d41d8cd98f00b204e9800998ecf8427e"\r\nContent-Length: 0\r\n'
            b"Server: AmazonS3\r\nx-amz-request-id: 0123456789ABCDEF\r\n"
            b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
        )


def serve_sink(listener: socket.socket) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        await (await loop.create_server(Sink, sock=listener)).serve_forever()

    uvloop.run(serve())


def ways_of(
    clients: S3Clients, options: S3Options, http: aiohttp.ClientSession, size: int
) -> dict[str, Way]:
    chunks = [bytes(min(CHUNK_BYTES, size - at)) for at in range(0, size, CHUNK_BYTES)]
    params = {"ContentType": "application/octet-stream", "IfNoneMatch": "*"}
    sockets = asyncio.Semaphore(options.connections_max)
    sender = Sender(clients, options, sockets)

    async def sdk() -> None:
        body = ChunkedBody(chunks, lambda: None) if size else b""
        answer = await clients.sdk.put_object(
            Bucket=options.bucket,
            Key="key",
            Body=body,
            ContentLength=size,
            ContentType=params["ContentType"],
            IfNoneMatch=params["IfNoneMatch"],
        )
        assert answer["ETag"]

    async def ours() -> None:
        await sender.send(put_object("key", chunks, size, params))

    async def over_aiohttp() -> None:
        direct: Any = clients.direct
        route = direct._route
        credentials = await direct._credentials.get_frozen_credentials()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        call = Call("PUT", "key", params, chunks, size)
        head = build_head(route, credentials, call, stamp).decode()
        lines = [line.split(": ", 1) for line in head.split("\r\n")[1:-2]]
        url = URL.build(
            scheme="http", host="127.0.0.1", port=route.port, path=f"{route.path}key", encoded=True
        )
        body = b"".join(chunks) if size <= WRITE_BYTES else _pieces(chunks)
        with translated():
            async with (
                sockets,
                asyncio.timeout(options.timeout_s),
                http.put(url, headers=dict(lines), data=body) as answer,
            ):
                assert answer.headers["ETag"]
                await answer.read()

    return {"sdk": sdk, "aiohttp": over_aiohttp, "ours": ours}


async def _pieces(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def measure(port: int, size: int, calls: int, rounds: int) -> None:
    options = S3Options("bucket", "us-east-1", f"http://127.0.0.1:{port}", force_path_style=True)
    async with open_s3(options) as clients, aiohttp.ClientSession(auto_decompress=False) as http:
        ways = ways_of(clients, options, http, size)
        await ways["ours"]()
        least = dict.fromkeys(ways, float("inf"))
        for _ in range(rounds):
            for name, way in ways.items():
                began = time.process_time()
                for _ in range(calls // rounds):
                    await way()
                least[name] = min(least[name], (time.process_time() - began) / (calls // rounds))
        for name, way in ways.items():
            profile = cProfile.Profile()
            profile.enable()
            for _ in range(PROFILED_CALLS):
                await way()
            profile.disable()
            stats: Any = pstats.Stats(profile)
            counted = stats.total_calls / PROFILED_CALLS
            micros = 1e6 * least[name]
            sys.stdout.write(f"{name:8} {micros:8.0f} us CPU  {counted:6.0f} function calls\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=16 * limits.KIB)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    listener = socket.create_server(("127.0.0.1", 0))
    process = multiprocessing.get_context("fork").Process(
        target=serve_sink, args=(listener,), daemon=True
    )
    process.start()
    try:
        uvloop.run(measure(listener.getsockname()[1], given.size, given.calls, given.rounds))
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
