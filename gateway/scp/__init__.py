"""What a DICOM peer may ask of us."""
