"""Values the whole gateway speaks in; the standard library only."""
