"""Batches: many requests, a journal, and a report."""
