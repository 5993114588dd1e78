"""Checks of a repository that need no stack. Runs in the user's pytest."""
