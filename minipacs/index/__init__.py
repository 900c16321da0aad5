"""What is stored, in tables: peewee over SQLite stays in here."""

from minipacs.index.engine.connection import QueryCancelled
from minipacs.index.engine.readers import Allowance
from minipacs.index.index import WHY_DISPLACED, Accepted, Index
from minipacs.index.ledger.removal.removals import ToGo
from minipacs.index.objects.conflicts import Disagreement
from minipacs.index.objects.models import UNAVAILABLE, Availability
from minipacs.index.objects.records import Duplicates, Form, InstanceRecord, Outcome, Placed
from minipacs.index.queries.inventory import StoredFile, StoredInstance
from minipacs.index.queries.ordering import Order
from minipacs.index.queries.queries import Statistics, Subject
from minipacs.index.queries.selection import AVAILABILITY, TRANSFER_SYNTAX, Query

__all__ = [
    "AVAILABILITY",
    "TRANSFER_SYNTAX",
    "UNAVAILABLE",
    "WHY_DISPLACED",
    "Accepted",
    "Allowance",
    "Availability",
    "Disagreement",
    "Duplicates",
    "Form",
    "Index",
    "InstanceRecord",
    "Order",
    "Outcome",
    "Placed",
    "Query",
    "QueryCancelled",
    "Statistics",
    "StoredFile",
    "StoredInstance",
    "Subject",
    "ToGo",
]
