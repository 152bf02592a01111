"""Imaging exchange gateway: moves DICOM studies and documents between institutions, after deciding that it may."""

__version__ = "0.1.0"
