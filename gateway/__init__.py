"""Imaging exchange gateway: moves DICOM studies and their documents between institutions, after deciding that it may."""

__version__ = "0.1.0"
