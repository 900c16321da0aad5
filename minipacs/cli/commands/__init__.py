"""The commands: one file for each group of them, each a few lines over the layers below."""
