"""What is stored, in tables: peewee over SQLite stays in here."""

from minipacs.index.database import QueryCancelled
from minipacs.index.index import Index
from minipacs.index.queries import Statistics, StoredFile, StoredInstance
from minipacs.index.rows import Form, InstanceRecord, Outcome, Placed
from minipacs.index.selection import AVAILABILITY, Query
from minipacs.index.zones import ZONE, is_offset

__all__ = [
    "AVAILABILITY",
    "ZONE",
    "Form",
    "Index",
    "InstanceRecord",
    "Outcome",
    "Placed",
    "Query",
    "QueryCancelled",
    "Statistics",
    "StoredFile",
    "StoredInstance",
    "is_offset",
]
