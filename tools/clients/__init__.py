"""Real clients of DICOMweb, driven against a real archive: `./tools/clients/run`."""
