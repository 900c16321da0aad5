"""Bytes on a connection: plain or TLS, PDUs and their items."""
