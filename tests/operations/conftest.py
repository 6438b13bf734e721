"""Fixtures that the tests of the flows have too."""

from tiny_world import kept_in_git, original

__all__ = ["kept_in_git", "original"]
