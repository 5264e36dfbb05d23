"""Running a service's application as a process."""

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import TypeVar

import structlog
import uvicorn
from fastapi import FastAPI

from spoel_common import tracing
from spoel_common.logging import configure_logging
from spoel_common.settings import CannotStart, ProcessSettings, Settings, exit_with, load_settings

KEEP_ALIVE_S = 15
BACKLOG = 2_048
STOP_TIMEOUT_S = 5

S = TypeVar("S", bound=Settings)

_log = structlog.get_logger(__name__)


def run_service(settings_type: type[S], build_app: Callable[[S], FastAPI]) -> None:
    """Be a service until SIGTERM or SIGINT: read the settings, build the application, serve it.

    A wrong configuration ends the process with status 2 and a text that says what to do; another failure to start
    with status 1.

    Args:
        settings_type: the service's settings.
        build_app: the service's composition root.
    """
    try:
        settings = load_settings(settings_type)
        configure_logging(settings.service, settings.log_level)
        with tracing.exporting(settings.service, settings.store, settings.otlp_endpoint):
            serve(build_app(settings), settings)
    except CannotStart as error:
        exit_with(error)


def serve(app: FastAPI, settings: ProcessSettings) -> None:
    """Serve ``app`` at the address of ``settings`` until SIGTERM or SIGINT, then stop within a few seconds.

    Raises:
        CannotStart: the address cannot be listened at, or the application's lifespan says so.
    """
    listener = _listen(settings.bind, settings.port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",  # entered here, so that its refusal to start reaches the caller
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: _ask_to_stop(server, app))
    asyncio.run(_serve(app, server, listener))


async def _serve(app: FastAPI, server: uvicorn.Server, listener: socket.socket) -> None:
    with listener:
        async with app.router.lifespan_context(app):
            listener.listen(BACKLOG)  # before it is said: whoever reads the line may connect
            host, port = listener.getsockname()[:2]
            _log.info("server.listening", host=host, port=port)
            await server.serve(sockets=[listener])
    _log.info("server.stopped")


def _ask_to_stop(server: uvicorn.Server, app: FastAPI) -> None:
    server.should_exit = True
    app.state.stopping = True  # answers without an end see it


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"Port {port} at {host} cannot be listened at ({error.strerror}). "
            "Stop what uses it, or set SPOEL_PORT or SPOEL_BIND to something else."
        ) from error
    return listener
