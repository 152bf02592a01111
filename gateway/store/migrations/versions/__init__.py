"""Each module one step of the schema."""
