"""Status codes of DIMSE responses (PS3.7 Annex C, PS3.4 §B.2.3)."""

from enum import Enum

SUCCESS = 0x0000
ATTRIBUTE_LIST_ERROR = 0x0107
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
INVALID_ARGUMENT_VALUE = 0x0115
INVALID_SOP_INSTANCE = 0x0117
SOP_CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORIZED = 0x0124
DUPLICATE_INVOCATION = 0x0210
UNRECOGNIZED_OPERATION = 0x0211
MISTYPED_ARGUMENT = 0x0212
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700
MOVE_DESTINATION_UNKNOWN = 0xA801
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
COERCION_OF_DATA_ELEMENTS = 0xB000
ELEMENTS_DISCARDED = 0xB006
DATA_SET_MISMATCH_WARNING = 0xB007
CANCEL = 0xFE00
PENDING = 0xFF00
PENDING_WITH_WARNING = 0xFF01


class StatusCategory(Enum):
    """What a status means for the operation it answers (PS3.7 §C.1)."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    CANCEL = "cancel"
    PENDING = "pending"


_WARNING_NIBBLE = 0xB  # every Bxxx warns (PS3.7 §C.4)
_WARNINGS = frozenset({0x0001, ATTRIBUTE_LIST_ERROR, 0x0116})

_WORDS = {
    SUCCESS: "Success",
    ATTRIBUTE_LIST_ERROR: "Attribute list error",
    PROCESSING_FAILURE: "Processing failure",
    DUPLICATE_SOP_INSTANCE: "Duplicate SOP Instance",
    NO_SUCH_SOP_INSTANCE: "No such SOP Instance",
    INVALID_ARGUMENT_VALUE: "Invalid argument value",
    INVALID_SOP_INSTANCE: "Invalid SOP Instance",
    SOP_CLASS_NOT_SUPPORTED: "SOP Class not supported",
    NOT_AUTHORIZED: "Not authorized",
    DUPLICATE_INVOCATION: "Duplicate invocation",
    UNRECOGNIZED_OPERATION: "Unrecognized operation",
    MISTYPED_ARGUMENT: "Mistyped argument",
    RESOURCE_LIMITATION: "Resource limitation",
    MOVE_DESTINATION_UNKNOWN: "Move destination unknown",
    COERCION_OF_DATA_ELEMENTS: "Coercion of data elements",
    ELEMENTS_DISCARDED: "Elements discarded",
    DATA_SET_MISMATCH_WARNING: "Data set does not match SOP Class (warning)",
    CANCEL: "Cancelled",
    PENDING: "Pending",
    PENDING_WITH_WARNING: "Pending, optional keys not supported",
}

# PS3.4 Table B.2-1 gives C-STORE whole ranges of codes.
_RANGES = (
    (0xA700, 0xA7FF, "Out of resources"),
    (0xA900, 0xA9FF, "Data set does not match SOP Class"),
    (0xC000, 0xCFFF, "Cannot understand"),
)


def category(status: int) -> StatusCategory:
    """The category of any status; codes the standard does not know are failures."""
    if status == SUCCESS:
        return StatusCategory.SUCCESS
    if status in _WARNINGS or status >> 12 == _WARNING_NIBBLE:
        return StatusCategory.WARNING
    if status == CANCEL:
        return StatusCategory.CANCEL
    if status in (PENDING, PENDING_WITH_WARNING):
        return StatusCategory.PENDING
    return StatusCategory.FAILURE


def words(status: int) -> str:
    """The status as a person reads it, with its code, such as `Not authorized (0x0124)`."""
    text = _WORDS.get(status)
    if text is None:
        text = next((name for low, high, name in _RANGES if low <= status <= high), None)
    if text is None:
        text = category(status).value.capitalize()
    return f"{text} (0x{status:04X})"
