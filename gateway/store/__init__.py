"""What survives a restart: the spool, which is the truth, and the database, which is its index."""
