"""Segments and fields of a message, as text that was meant: escapes are resolved, what is not there is empty.

(HL7 v2.5 2.5.3)
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

DELETED = '""'
"""The value that says: there is none, forget what you have."""

Components: TypeAlias = Sequence[Sequence[str]]
"""Of one repetition, each with its subcomponents."""


class Field:
    """A field: repetitions of components of subcomponents, numbered from 1; `first` moves where components begin."""

    def __init__(self, repetitions: Sequence[Components], unescape: Callable[[str], str], first: int = 1) -> None:
        self._repetitions = repetitions
        self._unescape = unescape
        self._first = first

    def repetitions(self) -> "list[Field]":
        """Return each repetition as a field of its own."""
        return [Field([components], self._unescape, self._first) for components in self._repetitions]

    def at(self, component: int) -> "Field":
        """Return the same field with its components numbered from `component`."""
        return Field(self._repetitions, self._unescape, self._first + component - 1)

    def text(self, component: int = 1, subcomponent: int = 1) -> str:
        """Return a component's text of the first repetition, "" if there is none or it is `DELETED`."""
        found = self._text(component, subcomponent)
        return "" if found == DELETED else found

    @property
    def is_deleted(self) -> bool:
        """Tell that the sender says there is no value."""
        return self._text(1, 1) == DELETED

    def _text(self, component: int, subcomponent: int) -> str:
        components = self._repetitions[0] if self._repetitions else ()
        at = self._first + component - 2
        subcomponents = components[at] if at < len(components) else ()
        raw = subcomponents[subcomponent - 1] if subcomponent <= len(subcomponents) else ""
        return self._unescape(raw).strip()


NOTHING = Field((), str)


class Segment:
    """A segment: its name, and its fields by number."""

    def __init__(self, name: str, fields: Sequence[Field]) -> None:
        self.name = name
        self._fields = fields

    def field(self, number: int) -> Field:
        """Return a field, an empty one if it is not there."""
        return self._fields[number - 1] if number <= len(self._fields) else NOTHING

    def text(self, number: int, component: int = 1, subcomponent: int = 1) -> str:
        """Return the text of a component, "" if there is none."""
        return self.field(number).text(component, subcomponent)
