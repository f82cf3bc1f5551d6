"""The durable half of the store: revisions in SQLite, written in groups by one thread.

submit(revision) -> the thread takes all that wait, one transaction -> report(batch) on the event loop. The
file holds one row per revision, as etcd keeps them: the newest row of each object is its state, older rows
and tombstones above the compaction mark are the history that watches replay.

Invariants: batches commit in the order of submission; a batch is reported only after its commit; when one
fails, all that was submitted before the loop learnt of it fails too, since it may build on what was lost.
WAL without fsync per commit keeps every acknowledged write across `kill -9` of the process, not across a
power cut. An exclusive lock keeps a second process out.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lateen.base.errors import ConflictError, DataError, UnavailableError
from lateen.cluster.revisions import Key, Revision

_SCHEMA = """
CREATE TABLE IF NOT EXISTS revisions (
  version INTEGER PRIMARY KEY, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  deleted INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS compaction (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER NOT NULL);
INSERT OR IGNORE INTO compaction VALUES (0, 0);
"""

_INSERT = "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)"

_MOST_IN_A_BATCH = 512
"""Bounds the time between two acknowledgements when writers never pause."""


class Compaction:
    """An order to forget superseded rows up to a version."""

    def __init__(self, version: int, superseded: Sequence[int]) -> None:
        self.version = version
        self.superseded = superseded


class Submission:
    """A revision on its way to the disk, and who waits for it."""

    __slots__ = ("epoch", "future", "revision")

    def __init__(self, revision: Revision, future: asyncio.Future[Revision], epoch: int) -> None:
        self.revision = revision
        self.future = future
        self.epoch = epoch


Report = Callable[[list[Submission], Exception | None], None]


class Journal:
    """One SQLite file and the thread that writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[Submission | Compaction | None] = queue.SimpleQueue()
        self._connection = _connect(path)
        self._thread: threading.Thread | None = None
        self._failed_epoch = -1

    def load(self) -> tuple[int, Iterator[Revision]]:
        """The compaction mark and all revisions kept, in the order of their versions; before `start` only.

        Raises DataError, also from the iterator, when the file is damaged.
        """
        [(mark,)] = self._read("SELECT version FROM compaction")
        return mark, self._revisions()

    def _revisions(self) -> Iterator[Revision]:
        rows = self._read("SELECT version, resource, namespace, name, deleted, body FROM revisions ORDER BY version")
        for version, resource, namespace, name, deleted, body in rows:
            yield Revision(Key(resource, namespace, name), version, body, deleted=bool(deleted))

    def _read(self, query: str) -> Iterator[Any]:
        try:
            yield from self._connection.execute(query)
        except sqlite3.Error as error:
            self._connection.close()
            raise DataError(
                f"{self._path} is damaged: {error}",
                fix="move it away and apply your objects again, or recover it with `sqlite3 FILE .recover`",
            ) from error

    def start(self, loop: asyncio.AbstractEventLoop, report: Report) -> None:
        """Begin to write; `report` runs on the loop once per batch, with the error if it was lost."""
        self._thread = threading.Thread(target=self._run, args=(loop, report), name="journal", daemon=True)
        self._thread.start()

    def submit(self, work: Submission | Compaction) -> None:
        """Queue one write."""
        self._queue.put(work)

    def close(self) -> None:
        """Write what is queued and close the file."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        self._connection.close()

    def _run(self, loop: asyncio.AbstractEventLoop, report: Report) -> None:
        while True:
            batch, compactions, closing = self._take()
            if batch:
                error = self._write(batch)
                loop.call_soon_threadsafe(report, batch, error)
            for compaction in compactions:
                self._compact(compaction)
            if closing:
                return

    def _take(self) -> tuple[list[Submission], list[Compaction], bool]:
        batch: list[Submission] = []
        compactions: list[Compaction] = []
        work = self._queue.get()
        while work is not None:
            if isinstance(work, Submission):
                batch.append(work)
            else:
                compactions.append(work)
            if len(batch) >= _MOST_IN_A_BATCH:
                return batch, compactions, False
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return batch, compactions, False
        return batch, compactions, True

    def _write(self, batch: list[Submission]) -> Exception | None:
        if batch[0].epoch <= self._failed_epoch:
            return UnavailableError("an earlier write was lost")
        rows = [
            (r.version, r.key.resource, r.key.namespace, r.key.name, int(r.deleted), r.body)
            for r in (submission.revision for submission in batch)
        ]
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany(_INSERT, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._failed_epoch = max(submission.epoch for submission in batch)
            return UnavailableError(f"cannot write {self._path}: {error}", fix="make room on the disk")
        return None

    def _compact(self, compaction: Compaction) -> None:
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "DELETE FROM revisions WHERE version = ?", [(version,) for version in compaction.superseded]
            )
            self._connection.execute("UPDATE compaction SET version = ?", (compaction.version,))
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(f"cannot open {path}: {error}", fix="choose a writable state directory") from error
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):
            raise ConflictError(f"{path} is in use by another process", fix="stop the cluster that uses it") from error
        raise UnavailableError(f"cannot use {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise UnavailableError(f"{path} is no database of ours: {error}", fix="move it away") from error
    return connection
