"""TLS for servers that were built without it: certificates, and a proxy that ends TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.proxy import READ_BYTES, Proxy
from tusd_s3.devstack.free_ports import LOOPBACK

_HANDSHAKE = b"\x16"
"""What TLS begins with (RFC 8446, 5.1: a record of type handshake)."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: an authority's certificate, and a server's with its key."""

    authority: Path
    server: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """An authority of its own, and a certificate of it for the loopback address."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")

    def make(name: str, *options: str) -> None:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-config", "openssl.cnf", "-days", "2", "-nodes"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"),
                *options,
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )

    make(
        "authority",
        *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign"),
        *("-addext", "subjectKeyIdentifier=hash"),
    )
    make(
        "server",
        *("-CA", "authority.pem", "-CAkey", "authority.key"),
        *("-addext", f"subjectAltName=IP:{LOOPBACK}"),
        *("-addext", "authorityKeyIdentifier=keyid", "-addext", "basicConstraints=CA:FALSE"),
    )
    return Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")


class TlsFront(Proxy):
    """Ends TLS before `upstream`, and carries clients that speak plainly as they are: what servers
    say among themselves (sentinels, nodes of a cluster) comes to the same address."""

    def __init__(
        self, certificates: Certificates, upstream: tuple[str, int] = (LOOPBACK, 0)
    ) -> None:
        super().__init__(upstream)
        self.secured = 0
        """Connections that did speak TLS."""
        self.secured_now = 0
        """Those of them that are open."""
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates.server, certificates.key)
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    async def handle(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Both directions at once, until either ends."""
        pumps = [
            asyncio.ensure_future(_copy(client[0], store[1])),
            asyncio.ensure_future(_copy(store[0], client[1])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _listen(self) -> None:
        self._listener = socket.create_server((LOOPBACK, self.port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._accepting = asyncio.ensure_future(self._accept_forever(self._listener))

    async def _close(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._cut()

    async def _accept_forever(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(listener)
            task = asyncio.ensure_future(self._take(accepted))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _take(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            first = await _peek(accepted)
            reader = asyncio.StreamReader(READ_BYTES)
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._context if first == _HANDSHAKE else None
            )
        except OSError:  # a client that does not trust us leaves in the handshake
            accepted.close()
            return
        secured = first == _HANDSHAKE
        self.secured += secured
        self.secured_now += secured
        try:
            await self._carry(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        finally:
            self.secured_now -= secured


async def _peek(accepted: socket.socket) -> bytes:
    """The first byte, which stays to be read."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(accepted, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(accepted)
    return accepted.recv(1, socket.MSG_PEEK)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_BYTES):
        writer.write(data)
        await writer.drain()
