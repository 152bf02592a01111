"""Tests of `gateway.transfer`."""
