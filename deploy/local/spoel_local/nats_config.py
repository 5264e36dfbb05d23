"""NATS's configuration, and who may publish and subscribe to what on it: one user a service, known by its NKey.

Each service publishes its own events and watermarks and nobody else's, and manages its own streams. Every service may
read every stream of events through pull consumers: events hold no patient's personal data, and the streams of
stimulation are as many as there are room nodes. The bucket of identity strips is for intake and the rooms alone.
Questions that carry a person's token (``spoel-ask``) are heard by the service that is asked and nobody else.
Every service may ask the owner of a store to send events again, and answers for its own stores alone.
Replies reach a user at inboxes of its own only (``_INBOX_<user>.>``), so that no service overhears another's answers.
Nobody may delete or purge a stream.

Acknowledgements are permitted as ``$JS.ACK.>``: a rule that names stream and consumer denies the newer, longer
acknowledgement subjects without a word.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SERVICES = ("intake", "planning", "stimulation", "audit")
SYSTEM_USER = "system"
"""User of NATS's system account: for the people who run the site, to look at the server. No service is it."""

_ACCOUNT = "SPOEL"
_SYSTEM_ACCOUNT = "SYS"

_OPENER = "intake"
_ASKERS = ("planning", "stimulation")
"""Services that may ask intake to open a sealed text, in the name of a person whose token they pass on."""

_ANSWER_WITHIN = "30s"
_STRIP_WRITER = "intake"
_STRIP_READER = "stimulation"

_READ_STREAMS = (
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.CONSUMER.CREATE.*",
    "$JS.API.CONSUMER.CREATE.*.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.*.*",
    "$JS.API.CONSUMER.INFO.*.*",
    "$JS.API.CONSUMER.NAMES.*",
    "$JS.API.CONSUMER.LIST.*",
    "$JS.API.CONSUMER.DELETE.*.*",
    "$JS.API.CONSUMER.MSG.NEXT.*.*",
    "$JS.ACK.>",
)


def inbox_prefix(user: str) -> str:
    """Return the prefix of the inboxes at which replies reach a user."""
    return f"_INBOX_{user}"


def server_config(port: int, monitor_port: int, store_dir: Path, users_file: str, name: str = "spoel") -> str:
    """Return the configuration of a server of one's own on 127.0.0.1; ``deploy/nats/nats.conf`` is the containers'.

    Args:
        port: for clients.
        monitor_port: of the monitor, where alone it can be seen that every message is synced.
        store_dir: where JetStream keeps its files.
        users_file: what ``users_config`` returned, as a path relative to the configuration.
        name: of the server; in a cluster each has its own.
    """
    return (
        f"server_name: {name}\n"
        f"listen: {json.dumps(f'127.0.0.1:{port}')}\n"
        f"http: {json.dumps(f'127.0.0.1:{monitor_port}')}\n"
        "jetstream {\n"
        f"  store_dir: {json.dumps(str(store_dir))}\n"
        "  sync_interval: always\n"
        "}\n"
        f"include {json.dumps(users_file)}\n"
    )


def users_config(site: str, public_keys: Mapping[str, str], node_stores: Sequence[str] = ("node-1",)) -> str:
    """Return NATS server configuration with the accounts, users and permissions of a site.

    Args:
        site: the site's name.
        public_keys: user → public NKey (``U…``).
        node_stores: names of the stimulation nodes' journals, each a stream of its own.
    """
    users = ",\n".join(f"      {_user(public_keys[name], site, name, node_stores)}" for name in SERVICES)
    return (
        "# Made by 'spoel init' from the release's table of permissions; public keys only. Do not edit.\n"
        f"system_account: {_SYSTEM_ACCOUNT}\n"
        "accounts {\n"
        f"  {_ACCOUNT} {{\n"
        "    jetstream: enabled\n"
        f"    users: [\n{users}\n    ]\n"
        "  }\n"
        f"  {_SYSTEM_ACCOUNT} {{\n"
        f"    users: [ {{ nkey: {public_keys[SYSTEM_USER]} }} ]\n"
        "  }\n"
        "}\n"
    )


def _user(public_key: str, site: str, service: str, node_stores: Sequence[str]) -> str:
    permissions: dict[str, Any] = {
        "publish": {"allow": _publish(site, service, node_stores), "deny": _denied(site, service)},
        "subscribe": {
            "allow": [f"{inbox_prefix(service)}.>", f"spoel-watermark.{site}.>", f"spoel-resend.{site}.{service}.*"]
        },
        "allow_responses": {"max": 1, "expires": "10s"},
    }
    if service == _OPENER:
        permissions["subscribe"]["allow"].append(f"spoel-ask.{site}.{_OPENER}.*")
        permissions["allow_responses"] = {"max": 1, "expires": _ANSWER_WITHIN}
    return f"{{ nkey: {public_key}, permissions: {json.dumps(permissions)} }}"


def _publish(site: str, service: str, node_stores: Sequence[str]) -> list[str]:
    allowed = [*_READ_STREAMS, f"spoel-resend.{site}.>"]
    stores = node_stores if service == "stimulation" else ("main",)
    allowed += [f"spoel.{site}.{service}.>", f"spoel-watermark.{site}.{service}.*"]
    allowed += [subject for store in stores for subject in _own_stream(f"spoel_{site}_{service}_{store}")]
    if service in {_STRIP_WRITER, _STRIP_READER}:
        allowed += _own_stream(f"KV_spoel-{site}-strips")
        allowed += [f"$KV.spoel-{site}-strips.>"]
    if service in _ASKERS:
        allowed.append(f"spoel-ask.{site}.{_OPENER}.*")
    if service == "stimulation":
        allowed += [*_own_stream(f"KV_spoel-{site}-rooms"), f"$KV.spoel-{site}-rooms.>"]
    return allowed


def _own_stream(stream: str) -> list[str]:
    return [
        f"$JS.API.STREAM.CREATE.{stream}",
        f"$JS.API.STREAM.UPDATE.{stream}",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
    ]


def _denied(site: str, service: str) -> list[str]:
    """Return what the general right to read streams would allow, and must not."""
    if service in {_STRIP_WRITER, _STRIP_READER}:
        return []
    strips = f"KV_spoel-{site}-strips"
    return [
        f"$JS.API.CONSUMER.CREATE.{strips}",
        f"$JS.API.CONSUMER.CREATE.{strips}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{strips}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{strips}.*",
    ]
