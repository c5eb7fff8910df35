"""A server for live avatars: a page, WebSocket and WebRTC streams, and videos made in the background.

    python scripts/serve.py                        # http://127.0.0.1:8000, for this machine only
    DITTO_TOKEN=secret python scripts/serve.py --host 0.0.0.0

Needs the extra `serve`. The protocol is described in docs/live.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # run from a checkout, without installing the project

from core.cli.program import Parser, leave, run_program, set_up_logging
from core.errors import InputError, OutputError

PING = 1.5  # seconds between signs of life of a WebSocket
PONG = 3.0  # seconds for the answer; a session that vanishes is gone within 5 s
SEND_BUFFER = 128 << 10  # bytes in the kernel for a client: more would only delay it, see docs/live.md
LOCAL = ("127.0.0.1", "::1", "localhost")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1: this machine only]")
    parser.add_argument("--port", type=int, default=8000, help="port, 0 for any free one [8000]")
    parser.add_argument("--state", type=Path, help="folder of avatars and jobs [in the user's cache folder]")
    parser.add_argument("--data_root", default="auto", help="folder of a model pack, or 'auto' [auto]")
    parser.add_argument("--sessions", type=int, help="live sessions at the same time [the number of cores]")
    parser.add_argument("--max_size", type=int, default=512, help="longest side of live pictures [512]")
    parser.add_argument("--step", type=int, help="frames of speech heard at a time; more: less work, more delay [1]")
    parser.add_argument("--token", default=os.environ.get("DITTO_TOKEN") or None, help="password [$DITTO_TOKEN]")
    parser.add_argument("--origin", action="append", default=[], help="page of another host that may use the server")
    parser.add_argument("--ice_server", action="append", default=[], help="STUN or TURN address for WebRTC [none]")
    return parser.parse(argv)


def serve(args: argparse.Namespace) -> None:
    """Listen until stopped. Raises DittoError."""
    listening = _listen(args.host, args.port)
    import uvicorn

    from core.sdk import StreamSDK
    from live.server import make_app
    from live.settings import Limits, Settings

    limits = Limits() if args.sessions is None else Limits(sessions=args.sessions)
    given = {name: getattr(args, name) for name in ("state", "step") if getattr(args, name) is not None}
    settings = Settings(
        **given, token=args.token, max_size=args.max_size, origins=tuple(args.origin),
        ice_servers=tuple(args.ice_server), limits=limits,
    )  # fmt: skip
    app = _made(make_app, StreamSDK(data_root=args.data_root), settings)
    config = uvicorn.Config(
        app, log_level="warning", ws_ping_interval=PING, ws_ping_timeout=PONG, ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False, timeout_graceful_shutdown=3, server_header=False,
    )  # fmt: skip
    listening.listen()
    host, port = listening.getsockname()[:2]
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    uvicorn.Server(config).run(sockets=[listening])


def _made(make_app: Any, sdk: Any, settings: Any) -> Any:
    try:
        return make_app(sdk, settings)
    except OSError as error:
        raise OutputError(f"{settings.state}: cannot be used for avatars and jobs ({error.strerror})") from None


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything heavy is loaded. Raises InputError."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}; give 0 to 65535")
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(info[0], socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listening.bind(info[4])
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port} ({error}); try another --port") from None
    return listening


def run(args: argparse.Namespace) -> None:
    """Check the command line and serve until stopped. Raises DittoError."""
    if args.host not in LOCAL and not args.token:
        logging.warning("the server is open to other machines without a token; set DITTO_TOKEN")
    if args.sessions is not None and args.sessions < 1:
        raise InputError(f"--sessions is {args.sessions}; at least 1 is needed")
    if args.step is not None and not 1 <= args.step <= 25:
        raise InputError(f"--step is {args.step}; give 1 to 25")
    try:
        serve(args)
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; pip install -e '.[serve]'") from None


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    set_up_logging()
    args = parse_args(argv)
    return run_program(lambda: run(args))


if __name__ == "__main__":
    leave(main())
