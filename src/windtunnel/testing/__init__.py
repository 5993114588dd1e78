"""What the fixtures are made of. Runs in the user's pytest."""
