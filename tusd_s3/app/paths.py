"""Which path leads to which resource.

Two kinds of paths need no router: Starlette's matches regular expressions one after the other, for
a fifth of what answering a HEAD costs.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Paths:
    """`{base}` and `{base}/` are the collection, `{base}/<id>` an upload, `{base}/<id>/progress`
    its progress, all else is `other`, as are the scopes that are no HTTP requests.

    base: path below the mount, without a slash at its end.
    """

    def __init__(
        self,
        base: str,
        *,
        collection: ASGIApp,
        resource: ASGIApp,
        progress: ASGIApp,
        other: ASGIApp,
    ) -> None:
        self._base = base
        self._collection = collection
        self._resource = resource
        self._progress = progress
        self._other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. To an upload with `path_params["upload_id"]`, as Starlette would."""
        await self._app_for(scope)(scope, receive, send)

    def _app_for(self, scope: Scope) -> ASGIApp:
        if scope["type"] != "http":
            return self._other
        path = _path_below_mount(scope)
        if path == (self._base or "/"):
            return self._collection  # a redirect would make a client send its body twice
        parent, slash, name = path.rpartition("/")
        if not slash or parent != self._base:
            return self._below_upload(scope, parent, name)
        if not name:
            return self._collection
        scope["path_params"] = {**scope.get("path_params", {}), "upload_id": name}
        return self._resource

    def _below_upload(self, scope: Scope, parent: str, name: str) -> ASGIApp:
        grandparent, slash, upload = parent.rpartition("/")
        if name != "progress" or not slash or grandparent != self._base or not upload:
            return self._other
        scope["path_params"] = {**scope.get("path_params", {}), "upload_id": upload}
        return self._progress


def _path_below_mount(scope: Scope) -> str:
    """The path without what a host has matched of it (ASGI, root_path)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    below = path.removeprefix(root)
    return below if below != path and below[:1] in ("", "/") else path
