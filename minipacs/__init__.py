"""minipacs, a DICOM archive: what identifies this implementation on the wire and in files."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Before numpy is imported, which would start threads: processes are forked, and nothing here multiplies matrices."""

__version__ = "0.1.0"

IMPLEMENTATION_CLASS_UID = "2.25.192461097544172057884741607938273756661"
"""Derived from a UUID (PS3.5 B.2); constant over releases, so that the same data set is always the same file."""

IMPLEMENTATION_VERSION_NAME = f"MINIPACS_{__version__.replace('.', '')}"
"""At most 16 characters (PS3.7 D.3.3.2.3); told to peers, never written into files."""
