"""Worklist, performed procedure steps and storage commitment over HTTP: adapters of the services of DIMSE."""
