"""The command line. Runs on the user's machine."""
