"""Attacks on the promises, random from a seed: tests run a few of them, and `python -m` as many as one likes."""
