"""The process that everything runs in: event loops, worker threads, forks, files and the log.

`event_loop` holds values local to a loop and runs work that has to finish; `portal` runs async functions in a
background loop, for any thread; `workers` has the package's own threads, `fork` locks that survive a fork, `files`
reads images in pieces and writes files atomically, `log` emits log records without ever failing. `system` and `signals`
have what differs between Linux, macOS and Windows, and `pyinstaller` is a hook for PyInstaller. May import the
standard library and anyio, and nothing of this package.
"""
