"""This project's own tests and tools. Runs on a developer's machine and is not shipped."""
