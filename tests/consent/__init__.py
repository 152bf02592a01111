"""Tests of `gateway.consent`."""
