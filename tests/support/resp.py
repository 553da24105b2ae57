"""Redis commands told apart in a stream of bytes, without keeping their payloads."""

from __future__ import annotations

from collections.abc import Iterator

_ARGUMENT_KEPT_BYTES = 128


class CommandReader:
    """Finds commands (arrays of bulk strings) in what a client sends, however it is split.

    Of each argument only the first bytes are kept: names and keys, not data.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._arguments: list[str] = []
        self._argument = bytearray()
        self._expected = 0
        self._skip = 0

    def feed(self, data: bytes) -> Iterator[list[str]]:
        """Every command that is complete now."""
        position = 0
        while position < len(data):
            position += self._take_payload(data, position) or self._take_line(data, position)
            if self._expected and len(self._arguments) == self._expected:
                yield self._arguments
                self._arguments, self._expected = [], 0

    def _take_payload(self, data: bytes, position: int) -> int:
        taken = min(self._skip, len(data) - position)
        if taken == 0:
            return 0
        room = max(0, _ARGUMENT_KEPT_BYTES - len(self._argument))
        self._argument += data[position : position + min(taken, room)]
        self._skip -= taken
        if self._skip == 0:
            self._arguments.append(self._argument.removesuffix(b"\r\n").decode("latin-1"))
            self._argument.clear()
        return taken

    def _take_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        stop = len(data) if end < 0 else end + 1
        self._line += data[position:stop]
        if end >= 0:
            number = int(self._line[1:])
            if self._line[:1] == b"*":
                self._expected = number
            else:
                self._skip = number + 2
            self._line.clear()
        return stop - position
