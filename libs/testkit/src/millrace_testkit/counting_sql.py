"""The counting service's memory in a database, for tests of the bus's SQL form."""

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
)

METADATA = MetaData()
COUNTS = Table(
    "counts",
    METADATA,
    Column("entity", String(100), primary_key=True),
    Column("count", Integer),
    Column("total", Float),
)


class SqlCounts:
    """Reads on demand, writes in one go."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, tuple[int, float]] = {}

    def get(self, entity: str) -> tuple[int, float] | None:
        if entity not in self._known:
            row = self._connection.execute(
                select(COUNTS.c.count, COUNTS.c.total).where(COUNTS.c.entity == entity)
            ).first()
            return (row[0], row[1]) if row else None
        return self._known[entity]

    def put(self, entity: str, count: int, total: float) -> None:
        self._known[entity] = (count, total)

    def flush(self) -> None:
        self._connection.execute(delete(COUNTS).where(COUNTS.c.entity.in_(self._known)))
        rows = [
            {"entity": entity, "count": count, "total": total}
            for entity, (count, total) in self._known.items()
        ]
        if rows:
            self._connection.execute(insert(COUNTS), rows)
