"""The database: connections, transactions, group commit."""
