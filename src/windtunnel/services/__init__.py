"""Code that runs inside a service: in its container, or in its process on the local engine."""
