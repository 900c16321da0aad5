"""The archive over HTTP: DICOMweb (PS3.18), and what stands on the same server."""
