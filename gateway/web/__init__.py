"""REST: HTTP in front of the use cases, and nothing of its own to decide but who is asking."""
