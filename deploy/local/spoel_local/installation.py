"""The secrets of one installation, made once: ``spoel init``.

Nothing has a default password. Every secret is a file of its own that only its owner can read (mode 0600, directory
0700), so that it can be mounted alone into the container that needs it. What is there already is never overwritten;
the NATS users file, which holds public keys only, is written anew, since what a service may do belongs to the release.
"""

import base64
import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nkeys

from spoel_local.nats_config import SERVICES, SYSTEM_USER, users_config
from spoel_local.processes import LauncherError

DATABASE_SERVICES = ("intake", "planning", "audit")
"""Services with a database on PostgreSQL; a stimulation node always keeps its journal in SQLite."""

_SITE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEY_BYTES = 32
_PASSWORD_BYTES = 24


class SecretReadableByOthers(LauncherError):
    """A secret's file mode lets others read it."""


@dataclass(frozen=True)
class Installation:
    """Where the secrets of an installation are.

    Attributes:
        data_dir: the installation's directory.
    """

    data_dir: Path

    @property
    def secrets_dir(self) -> Path:
        """The directory of all secrets."""
        return self.data_dir / "secrets"

    @property
    def nats_users(self) -> Path:
        """NATS configuration with every user's public key and permissions; no secret."""
        return self.data_dir / "nats" / "users.conf"

    @property
    def compose_environment(self) -> Path:
        """What ``docker compose --env-file`` needs to know of this installation; no secret."""
        return self.data_dir / "compose.env"

    @property
    def key_encryption_key(self) -> Path:
        """The key (32 bytes in base64) under which intake wraps patients' private keys."""
        return self.secrets_dir / "key-encryption-key"

    @property
    def log_key(self) -> Path:
        """Ed25519 seed (32 bytes in base64) that signs the audit log's checkpoints."""
        return self.secrets_dir / "log-key"

    @property
    def identity_key(self) -> Path:
        """Ed25519 seed (32 bytes in base64) of the development identity provider; no hospital needs it."""
        return self.secrets_dir / "identity-key"

    @property
    def identity_client_secret(self) -> Path:
        """The secret with which a client asks the development identity provider for a token."""
        return self.secrets_dir / "identity-client-secret"

    def nkey(self, user: str) -> Path:
        """Return the file with the NKey seed of a NATS user."""
        return self.secrets_dir / f"nats-{user}"

    def database_password(self, role: str) -> Path:
        """Return the file with the password of a PostgreSQL role."""
        return self.secrets_dir / f"postgres-{role}"


def initialise(data_dir: Path, site: str, owner: tuple[int, int] | None = None) -> list[Path]:
    """Make what is missing of an installation's secrets, and return the files that are new.

    Args:
        data_dir: the installation's directory; made if it is not there.
        site: the site's name, which is part of every NATS subject.
        owner: user and group that the services will run as, to whom the files are given; ourselves if None.

    Raises:
        LauncherError: the site's name cannot be part of a subject.
        SecretReadableByOthers: a secret that is there already can be read by others.
        OSError: the directory cannot be written, or we may not give files to ``owner``.
    """
    check_site(site)
    place = Installation(data_dir)
    for directory in (place.data_dir, place.secrets_dir, place.nats_users.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.secrets_dir.chmod(0o700)
    makers: dict[Path, Callable[[], str]] = {
        place.key_encryption_key: _random_key,
        place.log_key: _random_key,
        place.identity_key: _random_key,
        place.identity_client_secret: _password,
    }
    makers |= {place.nkey(user): _nkey_seed for user in (*SERVICES, SYSTEM_USER)}
    makers |= {place.database_password(role): _password for role in ("superuser", *DATABASE_SERVICES)}
    made = [path for path, make in makers.items() if _write_once(path, make)]
    public_keys = {user: _public_key(place.nkey(user)) for user in (*SERVICES, SYSTEM_USER)}
    _write_public(place.nats_users, users_config(site, public_keys))
    _write_public(place.compose_environment, _compose_environment(place, site, owner or (os.getuid(), os.getgid())))
    if owner is not None:
        for path in (place.secrets_dir, *makers):
            os.chown(path, *owner)
    return made


def check_site(site: str) -> None:
    """Refuse a site's name that could not be part of NATS subjects and of the events' source.

    Raises:
        LauncherError: it has other characters.
    """
    if not _SITE.fullmatch(site):
        raise LauncherError(f"--site is {site!r}; use small letters, digits and single hyphens.")


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def _password() -> str:
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def _nkey_seed() -> str:
    seed: bytes = nkeys.encode_seed(secrets.token_bytes(_KEY_BYTES), prefix=nkeys.PREFIX_BYTE_USER)
    return seed.decode()


def _public_key(seed_file: Path) -> str:
    public_key: bytes = nkeys.from_seed(seed_file.read_bytes().strip()).public_key
    return public_key.decode()


def _write_once(path: Path, make: Callable[[], str]) -> bool:
    """Write a secret where there is none; return whether it is new. The file appears whole or not at all."""
    if path.exists():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SecretReadableByOthers(
                f"The secret {path} has mode {mode:04o}; only its owner may read it: chmod 600."
            )
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(make())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
    return True


def _write_public(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(path)


def _compose_environment(place: Installation, site: str, owner: tuple[int, int]) -> str:
    return (
        "# For docker compose --env-file: where the secrets are, and who may read them.\n"
        f"SPOEL_INSTALLATION={place.data_dir.resolve()}\n"
        f"SPOEL_UID={owner[0]}\n"
        f"SPOEL_GID={owner[1]}\n"
        f"SPOEL_SITE={site}\n"
    )
