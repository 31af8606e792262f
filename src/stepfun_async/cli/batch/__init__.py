"""`batch`: many images from a file, with a journal; a later run continues where the last one ended.

`commands` has the commands, `options` their options and the values made from them, `interruptible_run` the run that
Ctrl-C stops, and `output` what they print.
"""
