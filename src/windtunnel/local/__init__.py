"""The engine that runs the stack as processes, without Docker. Runs on the user's machine."""
