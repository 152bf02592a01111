"""Settings of the property tests."""

from hypothesis import settings

# A machine busy with other work makes single examples slow; a test that hangs is shown by
# faulthandler_timeout.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
