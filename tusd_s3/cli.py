"""The `tusd-s3` command. Its flags are the fields of `Settings`, so that none can be forgotten.

Whatever is wrong before the server runs is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import socket
import sys
from collections.abc import Callable, Container, Sequence
from typing import Final, NoReturn

from pydantic.fields import FieldInfo
from uvicorn import Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from tusd_s3 import __version__
from tusd_s3.config import (
    ConfigError,
    Settings,
    env_name,
    flag_name,
    group,
    load_settings,
    metavar,
    show,
)
from tusd_s3.logs import configure_logging, one_line
from tusd_s3.serving import ListenError, listen, origin_of, server_config

AppFactory = Callable[[], object]
"""Makes the ASGI application, in the process that serves it; picklable."""

FAILED: Final = 1
WRONG_USAGE: Final = 2

_SERVING_GROUPS: Final = ("HTTP", "CORS")
"""Settings that say how a server is reached; `gc` is not."""

_ABOUT: Final = """\
A server for resumable uploads (tus 1.0) that puts them into S3.
Every byte it acknowledged survives its death; any worker on any machine serves any request."""

_CREDENTIALS: Final = """\
S3 credentials are not settings. They come from the AWS SDK's own chain: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY in the environment, a profile in ~/.aws, or the role of the machine."""

_EXAMPLES: Final = """\
examples:
  tusd-s3 dev
      try it: an S3, a Redis and the server on this machine, nothing else needed
  tusd-s3 serve --s3-bucket uploads --redis-url redis://localhost:6379/0
      Amazon S3, listening on this machine only, behind a proxy that ends TLS
  tusd-s3 serve --s3-bucket uploads --s3-endpoint http://minio:9000 \\
      --redis-url redis://redis:6379/0 --host 0.0.0.0 --workers 4
      another S3, in a container"""

_logger = logging.getLogger(__name__)


class _Failure(Exception):
    """What keeps the command from running, as one sentence."""


class _Parser(argparse.ArgumentParser):
    """Reports errors as one line; argparse would print the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        raise _Failure(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    try:
        options = _parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except (_Failure, ConfigError, ListenError) as failure:
        sys.stderr.write(f"tusd-s3: {one_line(str(failure))}\n")
        return WRONG_USAGE
    except KeyboardInterrupt:
        return 130


# --- Flags


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        "tusd-s3",
        description=_ABOUT,
        epilog=f"{_EXAMPLES}\n\n{_CREDENTIALS}",
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tusd-s3 {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serve = commands.add_parser(
        "serve",
        usage="tusd-s3 serve --s3-bucket NAME --redis-url URL [flags]",
        help="serve uploads, with an S3 and a Redis that are there",
        description=f"{_ABOUT}\n\nEach flag can also be set by the variable that is named with "
        f"it; a flag wins.\nDurations: 500ms, 30s, 5m, 24h, 7d. Sizes: 5MiB, 100MB, 1GiB. Lists: "
        f"comma separated.\n\n{_CREDENTIALS}",
        epilog=_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    _add_settings(serve)
    serve.set_defaults(run=_serve)
    _add_gc(commands)
    dev = commands.add_parser(
        "dev",
        help="try it: start an S3, a Redis and the server on this machine",
        description="Starts an S3 (SeaweedFS), a Redis and the server on this machine, for trying "
        "and for development.",
        allow_abbrev=False,
    )
    _add_dev_options(dev)
    dev.set_defaults(run=_dev)
    return parser


def _add_gc(commands: argparse._SubParsersAction[_Parser]) -> None:
    gc = commands.add_parser(
        "gc",
        usage="tusd-s3 gc [--dry-run] --s3-bucket NAME --redis-url URL [flags]",
        help="clean up once, beside running servers or without any",
        description="Removes what expired uploads left in S3, aborts orphaned multipart uploads, "
        "completes uploads\nwhose server died, and moves idle tails from Redis to S3: what running "
        "servers do anyway, now.\nNeeds the settings that the servers have. Prints one line for "
        f"each thing. Exit status: 0 when all\nwent well, 1 when something failed, 2 for wrong "
        f"usage.\n\n{_CREDENTIALS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    gc.add_argument("--dry-run", action="store_true", help="only print what would be done")
    _add_settings(gc, without=_SERVING_GROUPS)
    gc.set_defaults(run=_gc)


def _add_settings(parser: argparse.ArgumentParser, without: Container[str] = ()) -> None:
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field, info in Settings.model_fields.items():
        heading = group(field)
        if heading in without:
            continue
        if heading not in groups:
            groups[heading] = parser.add_argument_group(heading)
        takes_value = (
            {"metavar": metavar(field)}
            if metavar(field)
            else {"action": argparse.BooleanOptionalAction}
        )
        groups[heading].add_argument(
            flag_name(field),
            dest=field,
            # Absent unless given, so that the environment counts.
            default=argparse.SUPPRESS,
            help=_help(field, info).replace("%", "%%"),
            **takes_value,
        )


def _help(field: str, info: FieldInfo) -> str:
    notes = [env_name(field)]
    if info.is_required():
        notes.append("required")
    elif isinstance(info.default, bool):
        notes.append(f"default: {'on' if info.default else 'off'}")
    elif info.default_factory is None and info.default not in {None, ""}:
        notes.append(f"default: {show(field, info.default) or 'none'}")
    return f"{info.description} [{'; '.join(notes)}]"


def _add_dev_options(parser: argparse.ArgumentParser) -> None:
    add = functools.partial(parser.add_argument)
    add("--port", type=_port, default=8080, help="port to listen on (default: 8080)")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add(
        "--data-dir",
        default=".tusd-s3",
        help="where its S3 and Redis keep their data (default: .tusd-s3)",
    )
    add("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    add("--log-format", default="text", choices=("text", "json"))


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


# --- Commands


def _dev(options: argparse.Namespace) -> int:
    try:
        # Only here: `serve` must not need what only `dev` starts.
        from tusd_s3.devstack.command import run_dev  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise _Failure(
            f"tusd-s3 dev needs {missing.name}; install it with: pip install 'tusd-s3[dev]'."
        ) from None
    return run_dev(
        port=options.port,
        host=options.host,
        data_dir=options.data_dir,
        log_level=options.log_level,
        log_format=options.log_format,
    )


def _gc(options: argparse.Namespace) -> int:
    settings = _settings_of(options)
    from tusd_s3 import app  # noqa: PLC0415 - as for `serve`
    from tusd_s3.app.gc import collect_garbage  # noqa: PLC0415

    try:
        fine = asyncio.run(collect_garbage(settings, _print, dry_run=options.dry_run))
    except app.StartupError as error:
        sys.stderr.write(f"tusd-s3: {one_line(str(error))}\n")
        return FAILED
    return 0 if fine else FAILED


def _print(line: str) -> None:
    sys.stdout.write(f"{one_line(line)}\n")
    sys.stdout.flush()  # a reader at the other end of a pipe follows as it goes on


def _settings_of(options: argparse.Namespace) -> Settings:
    """The settings that were given; logging goes by them from now on."""
    given = {key: value for key, value in vars(options).items() if key in Settings.model_fields}
    settings = load_settings(given)
    configure_logging(settings.log_level, settings.log_format)
    return settings


def _serve(options: argparse.Namespace) -> int:
    settings = _settings_of(options)
    with listen(settings.host, settings.port) as listener:
        # Only here: --help and a wrong value need not wait for the S3 SDK to load.
        from tusd_s3 import app  # noqa: PLC0415

        try:
            asyncio.run(app.check_stores(settings))
        except app.StartupError as error:
            raise _Failure(str(error)) from None
        return run_server(settings, functools.partial(app.serve_app, settings), listener)


def run_server(settings: Settings, factory: AppFactory, listener: socket.socket) -> int:
    """Serve what `factory` makes on `listener` until told to stop; the exit status."""
    config = server_config(settings, factory, factory=True)
    _logger.info(
        "Serving uploads into bucket %s at %s%s with %d worker(s)",
        settings.s3_bucket,
        origin_of(listener),
        settings.base_path,
        settings.workers,
    )
    if settings.workers == 1:
        Server(config).run(sockets=[listener])
        return 0
    # uvicorn.run would refuse to start workers from anything but an import string, which could not
    # carry the settings.
    listener.set_inheritable(True)
    supervisor = Multiprocess(config, sockets=[listener])
    supervisor.run()
    failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if failed else 0
