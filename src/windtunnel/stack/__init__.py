"""What every engine shares: the abstract stack, its settings, the choice. Runs on the user's machine."""
