"""What the gateway asks of others: their DICOM services and their archives' own interfaces."""
