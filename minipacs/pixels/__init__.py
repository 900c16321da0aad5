"""Pixel data between transfer syntaxes; nothing of the archive."""
