"""No question reads the whole log: each has its index, on both databases."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from spoel_audit.queries import EventFilter, page_of

MOMENT = datetime(2026, 11, 22, 10, tzinfo=UTC)
INDEX_OF = [
    (EventFilter(case="c"), "log_index_case"),
    (EventFilter(patients=("p",)), "log_index_patient"),
    (EventFilter(patients=("p", "q")), "log_index_patient"),
    (EventFilter(session="s"), "log_index_session"),
    (EventFilter(room="room-1"), "log_index_room"),
    (EventFilter(person="tech-1"), "log_index_person"),
    (EventFilter(type="train-delivered"), "log_index_name"),
    (EventFilter(start=MOMENT, end=MOMENT), "log_index_occurred"),
]
FILL = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1999) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(0, 1999)) ",
}
ZEROS = {"sqlite": "zeroblob(32)", "postgresql": "sha256('')"}


async def fill(log):
    """Put 2,000 events of many cases into the tables, past the tree: only the planner looks at them."""
    numbers, zeros = FILL[log.database.dialect], ZEROS[log.database.dialect]
    async with log.database.write() as conn:
        for table, key in (("log_entry", "'e' || i, "), ("log_content", "")):
            await conn.execute(text(f"INSERT INTO {table} {numbers} SELECT i, {key}{zeros}, {zeros} FROM n ORDER BY i"))
        await conn.execute(
            text(
                f"INSERT INTO log_index {numbers} SELECT i, 't' || i, 't' || i, 's', 's', 'a', 's', 1, "
                "'c' || i, 'p' || i, 's' || i, 'r' || i, 'p' || i, NULL, i * 1000000, i FROM n"
            )
        )
        await conn.execute(text("ANALYZE"))


@pytest.mark.requirement("AU-03")
async def test_every_question_has_its_index(log):
    await fill(log)
    explain = "EXPLAIN QUERY PLAN " if log.database.dialect == "sqlite" else "EXPLAIN "
    async with log.database.read() as conn:
        for wanted, index in INDEX_OF:
            statement = page_of(wanted, -1, 100, 2000).compile(
                dialect=conn.dialect, compile_kwargs={"literal_binds": True}
            )
            plan = "\n".join(str(tuple(row)) for row in await conn.execute(text(explain + str(statement))))
            assert index in plan, plan
            assert "SCAN log_" not in plan, plan
            assert "Seq Scan" not in plan, plan
