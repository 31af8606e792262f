"""The images that the embedded engine draws.

`landscape` draws with Pillow, `plain` without. May import the core's sizes and images.
"""
