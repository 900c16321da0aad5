"""How a setting is declared: a field of a section, with what is allowed and what it does."""

from dataclasses import Field, dataclass, field, fields
from keyword import iskeyword
from typing import Any, TypeVar, cast

from minipacs.config.kinds import Kind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the schema.

    `default` is as written in TOML, None where a value is required; `sample` stands in the sample file instead of it.
    """

    kind: Kind[Any]
    help: str
    default: object
    sample: object


def setting(default: object, kind: Kind[T], help: str, sample: object = None) -> T:
    """Declare a setting of a section as a dataclass field."""
    row = {"setting": Setting(kind, help, default, default if sample is None else sample)}
    return cast(T, field(metadata=row) if default is None else field(default=kind.parse(default), metadata=row))


def settings_of(section: type[Any]) -> dict[str, Setting]:
    """Give the settings of a section by key, in order."""
    members: tuple[Field[Any], ...] = fields(section)
    return {member.name.rstrip("_"): member.metadata["setting"] for member in members}


def field_of(key: str) -> str:
    """Return the field of a section that has a setting: a word of Python's own has an underscore more."""
    return f"{key}_" if iskeyword(key) else key
