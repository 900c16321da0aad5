"""This archive as a user of other Application Entities."""
