"""Intake's own tables, as the queries see them. The migrations make them.

``vault`` is the only one with personal data, and there it is sealed.
"""

import sqlalchemy as sa

from spoel_common.store import BigInt, UtcDateTime

metadata = sa.MetaData()

vault = sa.Table(
    "vault",
    metadata,
    sa.Column("patient_id", sa.String, primary_key=True),
    sa.Column("bsn_index", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("public_key", sa.String, nullable=False),
    sa.Column("wrapped_private_key", sa.LargeBinary, nullable=True),
    sa.Column("sealed_identity", sa.String, nullable=False),
    sa.Column("registered_at", UtcDateTime, nullable=False),
)
"""A patient's keys and sealed identity; of who was erased there is no row, or none with ``wrapped_private_key``.

``bsn_index``: a keyed hash of the BSN; of the pseudonym in a file that was merged because its BSN was wrong.
"""

merges = sa.Table(
    "merges",
    metadata,
    sa.Column("patient_id", sa.String, primary_key=True),
    sa.Column("into_patient_id", sa.String, nullable=False, index=True),
    sa.Column("merged_at", UtcDateTime, nullable=False),
)
"""Read model: which file was merged into which, as it was said; ``person_files`` has what follows from all of it."""

erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("patient_id", sa.String, primary_key=True),
    sa.Column("erasure_id", sa.String, nullable=False),
    sa.Column("ground", sa.String, nullable=False),
    sa.Column("erased_at", UtcDateTime, nullable=False),
    sa.Column("erased_by", sa.String, nullable=False),
    sa.Column("replayed_at", UtcDateTime, nullable=True),
    sa.Column("event", sa.LargeBinary, nullable=False),
)
"""Who was erased. ``event``: the bytes of ``patient-erased``, as the file beside the data has them too."""

erasure_answers = sa.Table(
    "erasure_answers",
    metadata,
    sa.Column("patient_id", sa.String, primary_key=True),
    sa.Column("source", sa.String, primary_key=True),
    sa.Column("answered_at", UtcDateTime, nullable=False),
    sa.Column("cleared", sa.String, nullable=False),
)
"""Read model: which stores have answered an erasure, and what they cleared (a JSON object of counts)."""

vault_key = sa.Table(
    "vault_key",
    metadata,
    sa.Column("fingerprint", sa.String, primary_key=True),
)
"""One row: which key-encryption key the vault was made with."""

patient_channels = sa.Table(
    "patient_channels",
    metadata,
    sa.Column("patient_id", sa.String, primary_key=True),
    sa.Column("person_id", sa.String, primary_key=True),
)
"""Which system or person sent which patient in: an EHR sees its own only."""

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("case_id", sa.String, primary_key=True),
    sa.Column("patient_id", sa.String, nullable=False),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("referrer_kind", sa.String, nullable=False),
    sa.Column("indication", sa.String, nullable=False),
    sa.Column("referred_on", sa.Date, nullable=False),
    sa.Column("external_id", sa.String, nullable=True),
    sa.Column("referred_by", sa.String, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
)
"""Read model: every case, who sent it in, and how far it is; a unique index allows one open case a patient."""

room_withdrawals = sa.Table(
    "room_withdrawals",
    metadata,
    sa.Column("event_id", sa.String, primary_key=True),
    sa.Column("case_id", sa.String, nullable=False),
    sa.Column("withdrawn_at", UtcDateTime, nullable=False),
    sa.Column("correlation_id", sa.String, nullable=False),
    sa.Column("person_id", sa.String, nullable=False),
    sa.Column("roles", sa.String, nullable=False),
    sa.Column("big_number", sa.String, nullable=True),
    sa.Column("supervisor_id", sa.String, nullable=True),
    sa.Column("taken_over", sa.Boolean, nullable=False),
)
"""Withdrawals of consent that were entered in rooms, who entered them, and whether the case has them."""

staff = sa.Table(
    "staff",
    metadata,
    sa.Column("person_id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("big_number", sa.String, nullable=False),
    sa.Column("profession", sa.String, nullable=False),
    sa.Column("verified_on", sa.Date, nullable=False),
    sa.Column("evidence", sa.String, nullable=False),
    sa.Column("valid_until", sa.Date, nullable=True),
    sa.Column("ended_on", sa.Date, nullable=True),
    sa.Column("end_reason", sa.String, nullable=True),
)
"""Read model: the staff register."""

rooms = sa.Table(
    "rooms",
    metadata,
    sa.Column("room_id", sa.String, primary_key=True),
    sa.Column("strip_public_key", sa.String, nullable=False),
)
"""Read model: the key to which a room's identity strips are sealed."""

strips = sa.Table(
    "strips",
    metadata,
    sa.Column("session_id", sa.String, primary_key=True),
    sa.Column("room_id", sa.String, nullable=True),
    sa.Column("patient_id", sa.String, nullable=True),
    sa.Column("visible_from", UtcDateTime, nullable=True),
    sa.Column("visible_until", UtcDateTime, nullable=True),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Column("revision", BigInt, nullable=False),
    sa.Column("pushed", BigInt, nullable=False),
)
"""Read model and outbox in one: which strips belong in the rooms' bucket, and which revision was last carried out."""
