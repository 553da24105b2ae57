"""A program that forks servers on demand, one for each line of its input.

Most of a server's start is the loading of modules and of what the SDK knows of S3. Here both are
loaded once; every fork is then a process of its own that does all the rest of a start.

A line of input is a JSON object: `arguments` of the command, and `log`, the file for its output.
The answer is a line with the process's id. The end of the input ends everything: run it in a
process group of its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
from typing import NoReturn

import botocore.loaders
import botocore.session

from tusd_s3 import cli


def main() -> None:
    """Answer orders until there are no more."""
    importlib.import_module("tusd_s3.app")  # once, before the forks
    _load_sdk_data()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if (pid := os.fork()) == 0:
            _serve(order["arguments"], order["log"])
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)


def _load_sdk_data() -> None:
    """Every session has a loader, which reads a file once; from here on all have this one."""
    loader = botocore.loaders.create_loader()
    vars(botocore.session)["create_loader"] = lambda *_: loader
    botocore.session.Session().create_client("s3", region_name="us-east-1").close()


def _serve(arguments: list[str], log: str) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for inherited in (1, 2):
        os.dup2(output, inherited)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status = 1
    try:
        status = cli.main(arguments)
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
