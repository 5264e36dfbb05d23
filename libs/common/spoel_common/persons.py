"""Which files are of one person, as intake's ``patient-merged`` says: kept by every service with rules over a patient.

A patient is a pseudonym, and a person may have two of them, as when a referral came in under a wrong BSN. What holds
over a patient (a day's maximum, a block, a booking) holds over all files of the person (HZ-14). Merges are noted in any
order, and a repeat changes nothing: the person is named by the smallest pseudonym of its files. Pseudonyms only.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.erasure import TableMaker
from spoel_common.store import upsert


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("patient_id", sa.String, primary_key=True),
        sa.Column("person_id", sa.String, nullable=False, index=True),
    ]


person_files = sa.Table("person_files", sa.MetaData(), *_columns())
"""Every file that was merged with another, and the person; a file without a row is its person's only one."""


def create_table(op: TableMaker) -> None:
    """Make the table of persons in a revision of a service's migrations."""
    op.create_table("person_files", *_columns())


def joined(known: Mapping[str, str], files: Iterable[str]) -> dict[str, str]:
    """Return the rows, file → person, that change when these files turn out to be of one person. Pure.

    Args:
        known: file → person, of every file of the persons concerned, at least.
        files: of one person.
    """
    named = set(files)
    people = {known.get(file, file) for file in named}
    theirs = named | {file for file, person in known.items() if person in people}
    return dict.fromkeys(sorted(theirs), min(people))


async def keep_merge(conn: AsyncConnection, patient_id: str, into_patient_id: str) -> None:
    """Note, in a write transaction, that two files are of one person: then all that were merged with either are."""
    merged = (patient_id, into_patient_id)
    people = sa.select(person_files.c.person_id).where(person_files.c.patient_id.in_(merged))
    rows = await conn.execute(sa.select(person_files).where(person_files.c.person_id.in_(people)))
    known = {row.patient_id: row.person_id for row in rows}
    changed = joined(known, merged)
    await upsert(conn, person_files, [{"patient_id": file, "person_id": person} for file, person in changed.items()])


def same_person(patient_id: str | sa.BindParameter[str]) -> sa.CompoundSelect[Any]:
    """Return the query of all files of a patient's person, that file itself among them; for ``column.in_``."""
    its, others = person_files.alias("its"), person_files.alias("others")
    given = sa.literal(patient_id, sa.String()) if isinstance(patient_id, str) else patient_id
    merged = (
        sa.select(others.c.patient_id)
        .join_from(its, others, its.c.person_id == others.c.person_id)
        .where(its.c.patient_id == given)
    )
    return sa.union(sa.select(given), merged)


async def files_of(conn: AsyncConnection, patient_id: str) -> list[str]:
    """Return all files of a patient's person in order; only that one where none was merged."""
    return sorted((await conn.execute(same_person(patient_id))).scalars())
