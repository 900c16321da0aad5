"""Attribute matching (PS3.4 C.2.2.2): a key parsed once into a value that can be held against stored values.

`attribute` has what a key can ask of one attribute, `conditions` what a whole query asks of an object. Nothing here
knows a database: the index writes the same values as SQL.
"""
