"""Settings of the audit service."""

from typing import Literal

from spoel_common.settings import Settings


class AuditSettings(Settings):
    """What the audit service reads at start."""

    service: Literal["audit"] = "audit"
    port: int = 8104
    database_url: str = "sqlite:///.spoel/audit.db"
