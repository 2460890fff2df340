"""Sections of the report, one file each; page.py holds SECTIONS."""
