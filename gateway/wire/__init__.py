"""DICOM upper layer and DIMSE without I/O (PS3.7, PS3.8): bytes in, events out.

Nothing in this package opens a socket, starts a thread or reads a clock; it raises only the `ProtocolError`
family.
"""
