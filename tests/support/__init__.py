"""Servers and clients that several tests use."""
