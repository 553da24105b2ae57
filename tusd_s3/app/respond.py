"""Sending a response, also to a request whose body is still coming."""

from __future__ import annotations

from starlette.types import Message, Scope, Send

from tusd_s3.app.body import AsgiBody
from tusd_s3.protocol.fields import raw_name
from tusd_s3.protocol.message import Response


async def respond(response: Response, scope: Scope, body: AsgiBody, send: Send) -> None:
    """Send `response`.

    While the body is pending the connection cannot be used again: the response says so, goes out
    at once, and the connection stays open a little longer so that the client gets to read it.
    """
    linger = body.is_pending
    start = start_message(response)
    if linger and str(scope.get("http_version", "1.1")).startswith("1"):
        start["headers"].append((b"connection", b"close"))
    await send(start)
    await send({"type": "http.response.body", "body": response.body, "more_body": linger})
    if linger:
        await body.discard()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def start_message(response: Response) -> Message:
    """Status and headers, as ASGI has them."""
    headers = [(raw_name(name), value.encode("ascii")) for name, value in response.headers]
    return {"type": "http.response.start", "status": response.status, "headers": headers}
