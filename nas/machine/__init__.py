"""Folders, locks, processes, devices: what anyone may import."""
