"""Tests of `gateway.wire`."""
