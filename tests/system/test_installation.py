"""``spoel init``: every secret once, readable by its owner only; NATS users that may do their own work and no more."""

import asyncio
import base64
import json
import stat

import nats
import nats.errors
import pytest

from spoel_common.messaging import Broker, NatsSettings, ensure_stream
from spoel_common.store import StoreName
from spoel_local.installation import DATABASE_SERVICES, Installation, SecretReadableByOthers, initialise
from spoel_local.instance import free_ports
from spoel_local.nats_config import SERVICES, inbox_prefix, server_config
from spoel_local.nats_server import binary
from spoel_local.processes import Program, Supervisor

INTAKE = StoreName(site="local", service="intake", store="main")
PLANNING = StoreName(site="local", service="planning", store="main")
EVENT = "spoel.local.{}.main.case.1.case-opened"


@pytest.fixture
def installation(tmp_path):
    initialise(tmp_path / "data", "local")
    return Installation(tmp_path / "data")


def secrets_of(installation):
    return {path.name: path for path in installation.secrets_dir.iterdir()}


def test_every_secret_of_an_installation_is_made(installation):
    wanted = {f"nats-{user}" for user in (*SERVICES, "system")}
    wanted |= {f"postgres-{role}" for role in (*DATABASE_SERVICES, "superuser")}
    wanted |= {"key-encryption-key", "log-key", "identity-key", "identity-client-secret"}
    assert set(secrets_of(installation)) == wanted


def test_keys_are_32_bytes_in_base64(installation):
    for path in (installation.key_encryption_key, installation.log_key, installation.identity_key):
        assert len(base64.b64decode(path.read_text(), validate=True)) == 32


def test_only_the_owner_can_read_a_secret(installation):
    assert stat.S_IMODE(installation.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(installation.secrets_dir.stat().st_mode) == 0o700
    for path in secrets_of(installation).values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_init_changes_no_secret(installation):
    before = {name: path.read_text() for name, path in secrets_of(installation).items()}
    assert initialise(installation.data_dir, "local") == []
    assert {name: path.read_text() for name, path in secrets_of(installation).items()} == before


def test_two_installations_share_no_secret(installation, tmp_path):
    initialise(tmp_path / "other", "local")
    other = secrets_of(Installation(tmp_path / "other"))
    for name, path in secrets_of(installation).items():
        assert path.read_text() != other[name].read_text(), name


def test_a_missing_secret_is_made_and_the_others_stay(installation):
    kept = installation.log_key.read_text()
    installation.key_encryption_key.unlink()
    assert initialise(installation.data_dir, "local") == [installation.key_encryption_key]
    assert installation.log_key.read_text() == kept


def test_a_secret_that_others_can_read_is_refused(installation):
    installation.log_key.chmod(0o644)
    with pytest.raises(SecretReadableByOthers, match="log-key has mode 0644"):
        initialise(installation.data_dir, "local")


def test_what_is_no_secret_holds_none(installation):
    public = installation.nats_users.read_text() + installation.compose_environment.read_text()
    for path in secrets_of(installation).values():
        assert path.read_text() not in public


@pytest.fixture
def server(installation, tmp_path):
    port, monitor_port = free_ports(2)
    config = installation.nats_users.with_name("nats.conf")
    config.write_text(server_config(port, monitor_port, tmp_path / "jetstream", installation.nats_users.name))
    supervisor = Supervisor(tmp_path / "logs")
    supervisor.start(
        Program(
            "nats",
            (binary(), "-c", str(config)),
            waiting_for=lambda child: None if "Server is ready" in child.output() else "not ready",
        )
    )
    supervisor.wait_ready(15)
    yield f"nats://127.0.0.1:{port}"
    supervisor.stop_all()


@pytest.fixture
async def connect(installation, server):
    clients = []

    async def connect(user, errors=None):
        async def on_error(error):
            (errors if errors is not None else []).append(str(error))

        client = await nats.connect(
            [server],
            nkeys_seed=str(installation.nkey(user)),
            inbox_prefix=inbox_prefix(user),
            error_cb=on_error,
            allow_reconnect=False,
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()


async def test_nobody_gets_in_without_a_key(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.rpartition(":")[2]))
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"INFO ")
        writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
        assert b"Authorization Violation" in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_service_makes_its_own_stream_and_publishes_its_own_events(installation, server, connect):
    settings = NatsSettings(
        servers=server, nkey_seed_file=installation.nkey("intake"), inbox_prefix=inbox_prefix("intake")
    )
    broker = await Broker.connect(settings, "intake-main")
    try:
        await ensure_stream(broker, INTAKE, replicas=1)
    finally:
        await broker.close()
    client = await connect("intake")
    acknowledged = await client.jetstream().publish(EVENT.format("intake"), b"{}")
    assert acknowledged.seq == 1


async def wait_for(errors, count):
    async with asyncio.timeout(5):
        while len(errors) < count:
            await asyncio.sleep(0.01)
    assert len(errors) == count


async def test_a_service_cannot_publish_another_s_events_or_watermarks(connect):
    errors = []
    client = await connect("intake", errors)
    await client.publish(EVENT.format("planning"), b"{}")
    await client.publish(PLANNING.watermark_subject, b"{}")
    await wait_for(errors, 2)
    assert all("permissions violation for publish" in error.lower() for error in errors)


async def test_a_service_cannot_make_or_delete_another_s_stream(connect):
    errors = []
    client = await connect("audit", errors)
    for request in ("CREATE", "DELETE", "PURGE", "UPDATE"):
        with pytest.raises(nats.errors.TimeoutError):
            await client.request(f"$JS.API.STREAM.{request}.{INTAKE.stream}", b"{}", timeout=0.2)
    await wait_for(errors, 4)


async def test_no_service_may_delete_or_purge_even_its_own_stream(connect):
    client = await connect("intake", [])
    for request in ("DELETE", "PURGE", "MSG.DELETE"):
        with pytest.raises(nats.errors.TimeoutError):
            await client.request(f"$JS.API.STREAM.{request}.{INTAKE.stream}", b"{}", timeout=0.2)


@pytest.mark.parametrize("subject", ["_INBOX_intake.>", "_INBOX.>", ">", "spoel.local.intake.>", "$JS.API.>"])
async def test_a_service_cannot_overhear_another_s_replies_nor_its_live_subjects(connect, subject):
    errors = []
    client = await connect("planning", errors)
    await client.subscribe(subject)
    await wait_for(errors, 1)


async def test_the_log_reads_every_stream_and_publishes_its_own_events_only(installation, server, connect):
    settings = NatsSettings(
        servers=server, nkey_seed_file=installation.nkey("intake"), inbox_prefix=inbox_prefix("intake")
    )
    broker = await Broker.connect(settings, "intake-main")
    await ensure_stream(broker, INTAKE, replicas=1)
    await broker.close()
    errors = []
    client = await connect("audit", errors)
    info = await client.jetstream().stream_info(INTAKE.stream)
    assert info.state.messages == 0
    await client.publish(EVENT.format("audit"), b"{}")
    others = [service for service in SERVICES if service != "audit"]
    for service in others:
        await client.publish(EVENT.format(service), b"{}")
    await wait_for(errors, len(others))
    assert not any(EVENT.format("audit") in str(error) for error in errors)


async def test_identity_strips_are_for_intake_and_the_rooms_only(connect):
    intake, planning = await connect("intake"), await connect("planning", [])
    bucket = await intake.jetstream().create_key_value(bucket="spoel-local-strips", ttl=60)
    await bucket.put("room-1.session", b"sealed")
    rooms = await connect("stimulation")
    strip = await (await rooms.jetstream().key_value("spoel-local-strips")).get("room-1.session")
    assert strip.value == b"sealed"
    for request in (
        "DIRECT.GET.KV_spoel-local-strips.$KV.spoel-local-strips.>",
        "STREAM.MSG.GET.KV_spoel-local-strips",
        "CONSUMER.CREATE.KV_spoel-local-strips",
        "CONSUMER.CREATE.KV_spoel-local-strips.reader",
        "CONSUMER.DURABLE.CREATE.KV_spoel-local-strips.reader",
    ):
        with pytest.raises(nats.errors.TimeoutError):
            await planning.request(f"$JS.API.{request}", b"{}", timeout=0.2)


async def test_the_server_syncs_every_message(server, installation):
    config = json.dumps("sync_interval: always")
    assert config.strip('"') in installation.nats_users.with_name("nats.conf").read_text()
