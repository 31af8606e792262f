"""The process that everything runs in: event loops, worker threads, forks, files.

The ground floor. Imports the standard library and anyio, and nothing else of this package.
"""
