"""Which parts of the install that a plain archive can do without are there, and how to get them."""

from importlib.util import find_spec

_WEB_PACKAGES = ("starlette", "uvicorn", "httptools", "uvloop", "PIL")

NEEDS_WEB = "web.port needs more packages: pip install 'minipacs[web]'"

NEEDS_HL7 = "hl7.port needs another package: pip install 'minipacs[hl7]'"


def has_hl7() -> bool:
    """Tell whether messages of HL7 can be read; nothing is loaded."""
    return find_spec("hl7") is not None


def has_web() -> bool:
    """Tell whether HTTP can be served; nothing is loaded."""
    return all(map(find_spec, _WEB_PACKAGES))
