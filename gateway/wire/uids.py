"""Unique identifiers the upper layer needs (PS3.5 §9, PS3.6 Annex A)."""

import re

UID_LENGTH_LIMIT = 64
"""Characters in a UID at most (PS3.5 §9.1)."""

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
"""What the UIDs of the standard storage SOP Classes begin with."""

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.98"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_BASELINE_8_BIT = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED_12_BIT = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
JPIP_REFERENCED_DEFLATE = "1.2.840.10008.1.2.4.95"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"
JPIP_HTJ2K_REFERENCED_DEFLATE = "1.2.840.10008.1.2.4.205"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"

IMPLEMENTATION_CLASS_UID = "2.25.203614261870974526110048748550266195436"
IMPLEMENTATION_VERSION_NAME = "EXGATE_010"

_VALID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+", re.ASCII)
_DIGITS_AND_DOTS = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)


def is_valid_uid(text: str) -> bool:
    """Whether `text` is a UID by PS3.5 §9.1: no leading zeros in a component, 64 characters at most."""
    return len(text) <= UID_LENGTH_LIMIT and _VALID.fullmatch(text) is not None


def is_uid_text(text: str) -> bool:
    """Whether `text` has the characters and the length of a UID.

    Deployed devices write components with leading zeros. What is only compared and passed on is held to this
    rule; the characters are digits and dots, never a path separator or two dots in a row.
    """
    return len(text) <= UID_LENGTH_LIMIT and _DIGITS_AND_DOTS.fullmatch(text) is not None
