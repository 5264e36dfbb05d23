"""Logs: one JSON object a line on standard error, with time, level, event, service and correlation id.

What is never logged: the ``Authorization`` header, bodies, values of a query, personal data of patients.
"""

import logging
import sys
from typing import IO, Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_OUR_HANDLER = "spoel"
_QUIET = ("httpx", "httpcore", "asyncio", "aiosqlite", "alembic", "nats")


def configure_logging(service: str, level: str = "info", stream: IO[str] | None = None) -> None:
    """Send the logs of this process, those of libraries too, to ``stream`` as JSON lines.

    Calling it again replaces what an earlier call set up.

    Args:
        service: the service's name; stands in every line.
        level: lowest level that is logged: debug, info, warning or error.
        stream: where to write; standard error if None.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _named(service),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.set_name(_OUR_HANDLER)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    for old in [known for known in root.handlers if known.get_name() == _OUR_HANDLER]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"


def _named(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add


def bind_correlation(correlation_id: str) -> Any:  # noqa: ANN401 - structlog's own context manager
    """Return a context manager within which every line carries ``correlation_id``."""
    return structlog.contextvars.bound_contextvars(correlation_id=correlation_id)
