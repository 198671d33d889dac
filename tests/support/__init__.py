"""Helpers shared by several test tiers; this package contains no tests."""
