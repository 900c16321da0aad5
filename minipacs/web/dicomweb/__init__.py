"""The resources of DICOMweb (PS3.18), a file for each kind."""
