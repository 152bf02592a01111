"""Tests of the gateway, laid out as `gateway/` is."""
