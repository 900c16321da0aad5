"""Which parts of the install that a plain archive can do without are there, and how to get them."""

from importlib.util import find_spec

_WEB_PACKAGES = ("starlette", "uvicorn", "httptools", "uvloop", "PIL")

NEEDS_WEB = "web.port needs more packages: pip install 'minipacs[web]'"


def has_web() -> bool:
    """Tell whether HTTP can be served; nothing is loaded."""
    return all(map(find_spec, _WEB_PACKAGES))
