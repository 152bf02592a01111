"""The benchmark kit: the gateway and other ways between two systems, measured side by side on this machine."""
