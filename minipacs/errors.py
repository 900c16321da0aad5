"""What can go wrong, as types that carry what the peer or the administrator is told."""

from collections.abc import Sequence

MAX_COMMENT_LENGTH = 64
"""Error Comment is LO: 64 characters (PS3.7 E.1)."""


class MinipacsError(Exception):
    """A fault with a message meant for a person: one line, what was wrong, where, what is allowed."""


class ConfigError(MinipacsError):
    """One or more faults in the configuration, each a line that names its key."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class DimseError(MinipacsError):
    """A DIMSE operation that fails with `status`.

    `comment` becomes the Error Comment, cut at 64 characters; `offending_elements` are tags, `attributes` those of the
    Attribute Identifier List, which DIMSE-N has instead (PS3.7 C).
    """

    def __init__(
        self,
        status: int,
        comment: str,
        offending_elements: Sequence[int] = (),
        *,
        attributes: Sequence[int] = (),
        error_id: int | None = None,
    ) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment[:MAX_COMMENT_LENGTH]
        self.offending_elements = tuple(offending_elements)
        self.attributes = tuple(attributes)
        self.error_id = error_id


class DataSetError(DimseError):
    """A data set that cannot be understood, with the tag where reading stopped, if known.

    `status` is C000 (Cannot understand) unless a more precise one fits (PS3.4 B.2.3).
    """

    def __init__(self, comment: str, tag: int | None = None, status: int = 0xC000) -> None:
        super().__init__(status, comment, () if tag is None else (tag,))
