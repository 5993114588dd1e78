"""Says what is wrong, before a start and afterwards. Runs on the user's machine."""
