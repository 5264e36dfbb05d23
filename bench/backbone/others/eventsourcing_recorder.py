"""The library ``eventsourcing`` with its database functions, in a process of its own: it is measured, never imported.

Arguments: host, port, user, database, number of events of a round, bytes of each; the password is the first line of
input. For each further line it appends a round of ready bytes, 100 a transaction, and prints the seconds.
"""

import os
import sys
import time
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

BATCH = 100
AGGREGATE = 10


def main() -> None:
    """Answer until the input ends."""
    host, port, user, database, events, size = sys.argv[1:]
    datastore = PostgresDatastore(
        database, host, port, user, sys.stdin.readline().strip(), originator_id_type="uuid", enable_db_functions=True
    )
    recorder = PostgresApplicationRecorder(datastore)
    recorder.create_table()
    for _ in sys.stdin:
        batches = [_batch(int(size)) for _ in range(int(events) // BATCH)]
        start = time.perf_counter()
        for batch in batches:
            recorder.insert_events(batch)
        print(time.perf_counter() - start, flush=True)
    datastore.close()


def _batch(size: int) -> list[StoredEvent]:
    return [
        StoredEvent(aggregate, version, "spoel_intake.events:ReferralReceived", os.urandom(size))
        for aggregate in (uuid4() for _ in range(BATCH // AGGREGATE))
        for version in range(1, AGGREGATE + 1)
    ]


if __name__ == "__main__":
    main()
