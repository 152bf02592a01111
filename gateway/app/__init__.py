"""The composition root: nobody else wires parts together."""
