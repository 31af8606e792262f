"""What a call costs, against other clients, in one interleaved run on one machine: `python -m benchmarks`."""
