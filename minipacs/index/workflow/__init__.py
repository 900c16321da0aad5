"""Rows of worklist items, performed procedure steps and commitments."""
