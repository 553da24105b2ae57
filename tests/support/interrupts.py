"""Ends of commands that keep data on the disk and servers running."""

from __future__ import annotations

import signal
from typing import NoReturn

_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def interrupt_once() -> None:
    """SIGTERM is a KeyboardInterrupt as Ctrl-C is, and only the first of them: another one, such as
    the second that `timeout` sends, would cut short what removes data and ends servers."""
    for number in _ENDINGS:
        # Whoever starts a command in the background may have it ignore Ctrl-C.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    for number in _ENDINGS:
        signal.signal(number, _go_on)
    raise KeyboardInterrupt


def _go_on(*_: object) -> None:
    """Unlike SIG_IGN, not inherited by what is started from now on."""
