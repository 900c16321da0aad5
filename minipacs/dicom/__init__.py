"""Facts of the DICOM standard: tables and codecs, no I/O."""
