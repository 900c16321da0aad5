"""THE tables of what messages are for: their types, and what an order's control says of its step (HL7 table 0119)."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

ORDERS = (("ORM", "O01"), ("OMI", "O23"), ("OMG", "O19"))
UPDATES = tuple(("ADT", f"A{number:02}") for number in (*range(1, 9), *range(10, 14), 28, 31, 38))
MERGES = tuple(("ADT", event) for event in ("A40", "A34", "A36"))
NEW_IDENTIFIERS = (("ADT", "A47"),)
ACCOUNTS = (("ADT", "A35"),)
APPOINTMENTS = tuple(("SIU", f"S{number}") for number in (12, 13, 14, 15))

MESSAGES: Mapping[tuple[tuple[str, str], ...], str] = MappingProxyType(
    {
        ORDERS: "schedules the steps of a study, or takes them back; what it says of the patient counts as an update",
        UPDATES: "updates what objects, worklist items and performed steps say of the patient; nobody is made by it",
        MERGES: "merges the patient of MRG-1 into that of PID-3; what comes later under the prior ID follows",
        NEW_IDENTIFIERS: "gives the patient of MRG-1 the ID of PID-3, which nobody has yet",
        ACCOUNTS: "is accepted and changes nothing: there are no account numbers here",
        APPOINTMENTS: "is accepted and changes nothing: orders say what is to be done",
    }
)
"""What each type of message does; others are refused (AR, 200 or 201)."""


class Deed(Enum):
    """What becomes of a step."""

    SCHEDULE = auto()
    TAKE_BACK = auto()
    COMPLETE = auto()


DEEDS: Mapping[Deed, str] = MappingProxyType(
    {
        Deed.SCHEDULE: "scheduled, or changed; what is begun stays begun",
        Deed.TAKE_BACK: "removed, unless it is begun",
        Deed.COMPLETE: "over: no longer answered, unless its status is asked for",
    }
)

CONTROLS: Mapping[tuple[str, str], Deed] = MappingProxyType(
    {
        **{(control, status): Deed.SCHEDULE for control in ("NW", "XO", "SN", "RP", "RU") for status in ("", "SC")},
        **{(control, "IP"): Deed.SCHEDULE for control in ("NW", "XO")},
        **{(control, status): Deed.TAKE_BACK for control in ("CA", "OC") for status in ("", "CA")},
        **{(control, status): Deed.TAKE_BACK for control in ("DC", "OD") for status in ("", "CA", "DC")},
        ("XO", "CM"): Deed.COMPLETE,
        ("SC", "CM"): Deed.COMPLETE,
        ("SC", "A"): Deed.COMPLETE,
    }
)
"""By order control and order status, ORC-1 and ORC-5. Others are refused (AE, 103)."""
