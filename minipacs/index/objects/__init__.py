"""Rows of patients, studies, series and instances."""
