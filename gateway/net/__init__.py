"""Sockets. The only package that opens them for DICOM."""
