"""Request and reply between services: for what may not be an event, and is asked for when it is needed.

The one use is the opening of sealed texts by intake (DESIGN section 3). An answer is not kept anywhere on its way.
"""

import asyncio
from collections.abc import Awaitable, Callable

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from spoel_common.messaging.broker import Broker, BrokerAway

_log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0
_AT_ONCE = 16

Answer = Callable[[bytes], Awaitable[bytes]]
"""Takes a request, returns its answer."""


class NobodyAnswers(BrokerAway):
    """NATS is there, but nobody listens at the subject."""


def ask_subject(site: str, service: str, what: str) -> str:
    """Return the subject at which a service of a site is asked for ``what``."""
    return f"spoel-ask.{site}.{service}.{what}"


async def ask(broker: Broker, subject: str, request: bytes, timeout_s: float) -> bytes:
    """Ask once, and return the answer.

    Raises:
        BrokerAway: no connection.
        NobodyAnswers: nobody listens there at the moment.
        TimeoutError: no answer within ``timeout_s``; whether the request was heard is not known.
    """
    try:
        answer = await broker.client.request(subject, request, timeout=timeout_s)
    except nats.errors.NoRespondersError as error:
        raise NobodyAnswers(f"nobody answers at {subject}") from error
    except nats.errors.TimeoutError as error:
        raise TimeoutError(f"no answer at {subject} within {timeout_s:g} s") from error
    except nats.errors.Error as error:
        raise BrokerAway(f"{subject}: {type(error).__name__} {error}") from error
    return bytes(answer.data)


async def answer(broker: Broker, subject: str, reply: Answer) -> None:
    """Answer requests until cancelled, some at once; of several processes of a service one answers each request.

    A request for which ``reply`` raises is logged without its content and gets no answer: its sender's time runs out.
    """
    while True:
        await broker.wait_connected()
        try:
            await _answer_on(broker, broker.client, subject, reply)
        except (BrokerAway, nats.errors.Error) as error:
            _log.debug("requests-not-heard", subject=subject, error=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)


async def _answer_on(broker: Broker, client: Client, subject: str, reply: Answer) -> None:
    """Answer on one client, which renews the subscription by itself, until the broker uses another."""
    gate = asyncio.Semaphore(_AT_ONCE)
    async with asyncio.TaskGroup() as group:

        async def take(message: Msg) -> None:
            await gate.acquire()
            group.create_task(_reply(message, reply)).add_done_callback(lambda _: gate.release())

        subscription = await client.subscribe(subject, queue=subject, cb=take)
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if broker.connected and broker.client is not client:
                break
        await subscription.unsubscribe()


async def _reply(message: Msg, reply: Answer) -> None:
    try:
        await message.respond(await reply(bytes(message.data)))
    except Exception:  # noqa: BLE001 - one request that cannot be answered does not end the others
        _log.error("request-not-answered", subject=message.subject, exc_info=True)
