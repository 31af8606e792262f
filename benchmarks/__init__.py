"""Measurements that are too long for the tests; see README.md in this folder."""
