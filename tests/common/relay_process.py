"""A relay in a process of its own, which may be told to kill itself at an instruction."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys

from spoel_common.messaging import Broker, NatsSettings, Relay, broker, publish, relay
from spoel_common.store import Database, EventStore, StoreName, leader

PLACES = ("before-sending", "half-sent", "before-the-commit-is-answered", "published-not-saved", "saved")
_LEASE_S = 1.0


def start(log, *arguments: object) -> subprocess.Popen[bytes]:
    """Start the process; its output goes to ``log``, a path."""
    with log.open("ab") as output:
        command = [sys.executable, __file__, *(str(argument) for argument in arguments)]
        return subprocess.Popen(command, stdout=output, stderr=output)


def _dies_there(place: str, after_batches: int) -> None:
    """Let the process kill itself at ``place``, in the batch behind the first ``after_batches``."""
    left = after_batches

    def die(*places: str) -> None:
        if place in places and left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    original_publish, original_save = publish.Batch.publish, Relay.save
    original_write, original_request = broker._Client.write, broker._Client.request

    async def publishing(self, *arguments):
        nonlocal left
        left -= 1
        die("before-sending")
        return await original_publish(self, *arguments)

    async def writing(self, messages):
        await original_write(self, messages[: len(messages) // 2] if left < 0 and place == "half-sent" else messages)
        if left < 0 and place == "half-sent":
            await asyncio.sleep(0.05)  # what was written is with the server
        die("half-sent")

    async def requesting(self, subject, *arguments, **options):
        if left >= 0 or place != "before-the-commit-is-answered" or subject.startswith("$"):
            return await original_request(self, subject, *arguments, **options)
        asyncio.get_running_loop().call_later(0.003, die, place)
        return await original_request(self, subject, *arguments, **options)

    async def saving(self):
        die("published-not-saved")
        await original_save(self)
        die("saved")

    publish.Batch.publish, Relay.save = publishing, saving
    broker._Client.write, broker._Client.request = writing, requesting


async def _relay(options: argparse.Namespace) -> None:
    store = EventStore(await Database.open(options.url), StoreName(site=options.site, service="intake", store="main"))
    own = Relay(store, await Broker.connect(NatsSettings(servers=options.nats_url), "child"), batch_events=5)
    async with asyncio.TaskGroup() as group:
        group.create_task(own.run())
        while own.problem is not None:
            await asyncio.sleep(0.01)
        if options.republish_from:
            own.republish_from(options.republish_from)


def _main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "nats_url", "site"):
        parser.add_argument(name)
    parser.add_argument("--dies", choices=PLACES)
    parser.add_argument("--after", type=int, default=3)
    parser.add_argument("--republish-from", type=int)
    options = parser.parse_args()
    leader._LEASE_S = _LEASE_S
    leader._LOOK_EVERY_S = _LEASE_S / 4
    relay._SAVE_EVERY_S = 0.0  # beside every batch
    if options.dies:
        _dies_there(options.dies, options.after)
    asyncio.run(_relay(options))


if __name__ == "__main__":
    _main()
