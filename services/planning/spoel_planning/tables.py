"""Planning's own tables, as the queries see them. The migrations make them."""

import sqlalchemy as sa

from spoel_common.store import BigInt, UtcDateTime

metadata = sa.MetaData()

known_cases = sa.Table(
    "known_cases",
    metadata,
    sa.Column("case_id", sa.String, primary_key=True),
    sa.Column("patient_id", sa.String, nullable=False, index=True),
    sa.Column("indication", sa.String),
    sa.Column("decision", sa.String),
    sa.Column("consent", sa.String),
)
"""Cases as intake's events have them."""

patients = sa.Table(
    "patients",
    metadata,
    sa.Column("patient_id", sa.String, primary_key=True),
    sa.Column("public_key", sa.String, nullable=False),
)
"""The key to which free text about a patient is sealed; gone with the patient's erasure."""

sealed_texts = sa.Table(
    "sealed_texts",
    metadata,
    sa.Column("event_id", sa.String, primary_key=True),
    sa.Column("event_type", sa.String, nullable=False),
    sa.Column("case_id", sa.String, nullable=False, index=True),
    sa.Column("patient_id", sa.String, nullable=False, index=True),
    sa.Column("sealed", sa.String, nullable=False),
    sa.Column("written_at", UtcDateTime, nullable=False),
    sa.Column("written_by", sa.String, nullable=False),
)
"""Free texts of a case as intake's events have them: sealed, and opened by intake alone."""

registrations = sa.Table(
    "registrations",
    metadata,
    sa.Column("person_id", sa.String, primary_key=True),
    sa.Column("big_number", sa.String, primary_key=True),
    sa.Column("profession", sa.String),
    sa.Column("verified_on", sa.Date),
    sa.Column("evidence", sa.String),
    sa.Column("valid_until", sa.Date),
    sa.Column("ended_on", sa.Date),
)
"""BIG registrations as intake's staff register has them."""

known_rooms = sa.Table(
    "known_rooms",
    metadata,
    sa.Column("room_id", sa.String, primary_key=True),
    sa.Column("stimulator_model", sa.String, nullable=False),
    sa.Column("stimulator_serial", sa.String, nullable=False),
    sa.Column("coil_model", sa.String, nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
)
"""Rooms and the device that last answered in them."""

answered_stimuli = sa.Table(
    "answered_stimuli",
    metadata,
    sa.Column("session_id", sa.String, primary_key=True),
    sa.Column("version", BigInt, primary_key=True, autoincrement=False),
    sa.Column("case_id", sa.String, nullable=False),
    sa.Column("measurement_order_id", sa.String, nullable=False, index=True),
    sa.Column("train_id", sa.String, nullable=False),
    sa.Column("percent_mso", sa.Integer, nullable=False),
    sa.Column("response", sa.String, nullable=False),
    sa.Column("answered_at", UtcDateTime, nullable=False),
)
"""Stimuli of threshold sessions; ``version`` is that of the session's event, and gives their order."""

room_sessions = sa.Table(
    "room_sessions",
    metadata,
    sa.Column("session_id", sa.String, primary_key=True),
    sa.Column("opened_at", UtcDateTime),
    sa.Column("outcome", sa.String),
    sa.Column("closed_at", UtcDateTime),
)
"""Sessions that a room has taken up, and how and when those that are over ended."""

ranked_searches = sa.Table(
    "ranked_searches",
    metadata,
    sa.Column("session_id", sa.String, primary_key=True),
    sa.Column("case_id", sa.String, nullable=False, index=True),
    sa.Column("measurement_order_id", sa.String, nullable=False),
    sa.Column("site", sa.String, nullable=False),
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("best", sa.String),
    sa.Column("locations", sa.String, nullable=False),
    sa.Column("ranked_at", UtcDateTime, nullable=False),
)
"""What heart-brain searches found; ``locations`` is JSON, from strongest to weakest coupling."""

booked_sessions = sa.Table(
    "booked_sessions",
    metadata,
    sa.Column("session_id", sa.String, primary_key=True),
    sa.Column("patient_id", sa.String, nullable=False, index=True),
    sa.Column("room_id", sa.String, nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("starts_at", UtcDateTime, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
    sa.Column("local_day", sa.Date, nullable=False),
    sa.Column("pulses", sa.Integer, nullable=False),
    sa.Column("min_pause_s", sa.Float, nullable=False),
    sa.Column("cancelled", sa.Boolean, nullable=False),
)
"""Booked sessions by patient: written with the booking, in its transaction.

A cancelled one stays: the room may have begun it before it heard of that, and what it delivered counts (HZ-14).
"""
