"""Tests of `gateway.documents`."""
