"""Documents beside studies: kept by digest, released by decision."""
