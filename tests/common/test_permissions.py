"""With the users of an installation everything works that must, and nothing else."""

import asyncio

import nkeys
import pytest
from sqlalchemy import text
from tests.common.shop import Shop

from spoel_common.messaging import (
    BrokerAway,
    Bucket,
    Consumer,
    NatsSettings,
    NobodyAnswers,
    Projection,
    Relay,
    Resender,
    WatermarkPublisher,
    answer,
    ask,
    ask_subject,
    ensure_stream,
)
from spoel_common.messaging.resend import OwnerAway, ResendRequest, ask_owner
from spoel_common.store import AggregateRef, EventStore, StoreName
from spoel_local.nats_config import SERVICES, SYSTEM_USER, inbox_prefix, users_config
from spoel_local.nats_server import NatsServer

INTAKE = StoreName(site="local", service="intake", store="main")


@pytest.fixture
def connect_as(tmp_path, connect):
    """Return a function that connects as a user of an installation, or as nobody."""
    seeds = {
        user: bytes(nkeys.encode_seed(bytes([number] * 32), nkeys.PREFIX_BYTE_USER))
        for number, user in enumerate((*SERVICES, SYSTEM_USER), 1)
    }
    public_keys = {user: nkeys.from_seed(bytearray(seed)).public_key.decode() for user, seed in seeds.items()}
    server = NatsServer.start(tmp_path / "nats", users=users_config("local", public_keys))
    settings = NatsSettings(servers=server.url, monitor_url=server.monitor_url)

    async def open_one(user: str | None):
        if user is None:
            return await connect("nobody", settings)
        file = tmp_path / user
        file.write_bytes(seeds[user])
        own = {"nkey_seed_file": file, "inbox_prefix": inbox_prefix(user)}
        return await connect(f"{user}-main", settings.model_copy(update=own))

    yield open_one
    server.stop()


async def test_events_and_watermarks_go_from_one_service_to_another(
    open_database, new_sqlite, connect_as, background, eventually
):
    seen = []

    async def apply(conn, envelope, _decoded, _raw) -> None:
        await conn.execute(text("SELECT 1"))
        seen.append(envelope.aggregateversion)

    shop = Shop(await open_database(new_sqlite()), INTAKE)
    intake, planning = await connect_as("intake"), await connect_as("planning")
    projection = Projection("seen", 1, ("intake",), None, apply)
    consumer = Consumer(projection, await open_database(new_sqlite()), planning, "local")
    background(Relay(shop.store, intake).run())
    background(WatermarkPublisher(shop.store, intake, every_s=0.05).run())
    background(consumer.run())
    await shop.count("a", 1, 2, 3)

    await eventually(lambda: seen == [1, 2, 3])
    await eventually(lambda: consumer.knowledge()[0].age_s < 5)
    assert consumer.problems() == []


async def test_the_owner_alone_answers_who_asks_for_events_again(
    open_database, new_sqlite, connect_as, background, eventually
):
    shop = Shop(await open_database(new_sqlite()), INTAKE)
    await shop.count("a", 1, 2)
    intake, planning = await connect_as("intake"), await connect_as("planning")
    wanted = ResendRequest(aggregate_type="counter", aggregate_id="a", from_version=1, to_version=2)
    background(Resender(EventStore(shop.database, INTAKE), planning).run())  # it is not the owner
    for _ in range(3):
        with pytest.raises(OwnerAway):
            await ask_owner(planning, INTAKE, wanted)

    background(Resender(shop.store, intake).run())

    async def answered() -> bool:
        try:
            return len(await ask_owner(planning, INTAKE, wanted)) == 2
        except OwnerAway:
            return False

    await eventually(answered)


async def test_identity_strips_go_from_intake_to_a_room_and_to_nobody_else(connect_as, eventually):
    strips = await Bucket.open(await connect_as("intake"), "spoel-local-strips", ttl_s=86_400)
    await strips.put("room-1.session-1", b"sealed")
    at_the_room = await Bucket.open(await connect_as("stimulation"), "spoel-local-strips", ttl_s=86_400)
    assert await at_the_room.get("room-1.session-1") == b"sealed"
    planning = await connect_as("planning")
    with pytest.raises(TimeoutError):
        await planning.client.request("$JS.API.STREAM.MSG.GET.KV_spoel-local-strips", b'{"seq": 1}', timeout=0.3)


@pytest.mark.invariant("INV-6")
@pytest.mark.parametrize("service", ["planning", "stimulation"])
async def test_a_service_may_ask_intake_and_its_question_reaches_nobody_else(
    connect_as, background, eventually, service
):
    subject, heard = ask_subject("local", "intake", "open"), []

    async def reply(request):
        heard.append(request)
        return b"answer to " + request

    others = [await connect_as(user) for user in SERVICES if user not in {"intake", service}]

    async def overhear(message) -> None:
        heard.append(message.data)

    for other in others:
        await other.client.subscribe("spoel-ask.>", cb=overhear)
    background(answer(await connect_as("intake"), subject, reply))
    asker = await connect_as(service)

    async def answered():
        try:
            return await ask(asker, subject, b"token", 1.0) == b"answer to token"
        except (NobodyAnswers, TimeoutError):
            return False

    await eventually(answered)
    assert heard == [b"token"]


@pytest.mark.invariant("INV-6")
async def test_audit_may_not_ask_and_intake_publishes_nothing_but_answers_at_anothers_inbox(connect_as, background):
    subject = ask_subject("local", "intake", "open")
    intake, audit, planning = [await connect_as(user) for user in ("intake", "audit", "planning")]
    heard = []

    async def reply(request):
        heard.append(request)
        return b"text"

    background(answer(intake, subject, reply))
    with pytest.raises(TimeoutError):
        await ask(audit, subject, b"token", 0.5)
    overheard = []

    async def take(message) -> None:
        overheard.append(message.data)

    await planning.client.subscribe(f"{inbox_prefix('planning')}.x", cb=take)
    await planning.client.flush()
    await intake.client.publish(f"{inbox_prefix('planning')}.x", b"unasked")
    await intake.client.flush()
    await planning.client.flush()
    assert (heard, overheard) == ([], [])


async def test_a_service_may_not_delete_a_stream_or_write_in_anothers(connect_as):
    intake, planning = await connect_as("intake"), await connect_as("planning")
    await ensure_stream(intake, INTAKE, 1)
    for forbidden in (f"$JS.API.STREAM.DELETE.{INTAKE.stream}", f"$JS.API.STREAM.PURGE.{INTAKE.stream}"):
        with pytest.raises(TimeoutError):
            await intake.client.request(forbidden, timeout=0.3)
    foreign = INTAKE.subject(AggregateRef("counter", "a"), "spoel.intake.counted.v1")
    with pytest.raises(TimeoutError):
        await planning.client.request(foreign, b"forged", timeout=0.3)
    assert (await intake.jetstream.stream_info(INTAKE.stream)).state.messages == 0


async def test_rooms_are_present_to_each_other_and_nobody_else_speaks_for_them(connect_as):
    stimulation, planning = await connect_as("stimulation"), await connect_as("planning")
    rooms = await Bucket.open(stimulation, "spoel-local-rooms", 15.0)
    await rooms.put("room-1", b"here")
    assert await rooms.get("room-1") == b"here"
    with pytest.raises(BrokerAway):
        await Bucket(planning, "spoel-local-rooms").put("room-1", b"forged")
    assert await rooms.get("room-1") == b"here"


async def test_who_has_no_key_is_not_let_in(connect_as):
    stranger = await connect_as(None)
    assert not stranger.connected
    await asyncio.wait_for(stranger.close(), 5)
