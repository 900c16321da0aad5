"""Folders of files for browsers, such as a page that was built: what was listed is served, and nothing else.

A name that is asked for is looked up in the list and never becomes part of a path.
"""

import os
import re
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MAX_FILES = 10_000
"""In a folder; those beyond are not served."""
COMPRESSED = ".gz"
"""A file of this name beside another is the same, squeezed by gzip."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
OTHER_TYPE = "application/octet-stream"
SQUEEZABLE = frozenset({".css", ".html", ".js", ".json", ".mjs", ".svg", ".txt", ".wasm", ".webmanifest"})
"""What is worth a compressed copy."""


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file of a folder; `is_final` tells that its name stands for its content, which never changes."""

    path: Path
    tag: str
    media_type: str
    is_final: bool
    has_compressed: bool

    def read(self, *, compressed: bool) -> bytes:
        """Return its content. Raises OSError."""
        return (self.path.with_name(self.path.name + COMPRESSED) if compressed else self.path).read_bytes()


class Folder:
    """The files below `root`, listed anew when another folder has come in its place. Safe to use from any thread.

    Names that `final` finds something in have a hash of the content in them.
    """

    def __init__(self, root: Path, final: re.Pattern[str]) -> None:
        self._root = root
        self._final = final
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] = ()
        self._files: dict[str, ServedFile] = {}

    def find(self, name: str) -> ServedFile | None:
        """Look up a file by its path below the root, with slashes."""
        return self._listed().get(name)

    def __bool__(self) -> bool:
        """Tell whether anything is there."""
        return bool(self._listed())

    def _listed(self) -> dict[str, ServedFile]:
        seen: tuple[int, ...] = ()
        with suppress(OSError):
            found = os.stat(self._root)
            seen = found.st_dev, found.st_ino, found.st_mtime_ns
        with self._lock:
            if seen != self._seen:
                self._files = self._list() if seen else {}
                self._seen = seen
            return self._files

    def _list(self) -> dict[str, ServedFile]:
        states: dict[str, os.stat_result] = {}
        for folder, folders, names in os.walk(self._root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                path = Path(folder, name)
                state = path.lstat()
                if stat.S_ISREG(state.st_mode) and len(states) < MAX_FILES:
                    states[path.relative_to(self._root).as_posix()] = state
        return {
            name: ServedFile(
                self._root.resolve() / name,
                f"{state.st_mtime_ns:x}-{state.st_size:x}",
                MEDIA_TYPES.get(Path(name).suffix.lower(), OTHER_TYPE),
                bool(self._final.search(name)),
                name + COMPRESSED in states,
            )
            for name, state in states.items()
            if not (name.endswith(COMPRESSED) and name.removesuffix(COMPRESSED) in states)
        }
