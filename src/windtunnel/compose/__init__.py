"""The engine that runs the stack with Docker Compose. Runs on the user's machine."""
