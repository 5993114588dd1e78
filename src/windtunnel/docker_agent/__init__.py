"""The agent with Docker: runs containers of ECS, Batch and DockerOperator as real ones.

Its service alone has Docker's socket, which is as good as root on the machine. So whatever others ask for, a
container gets no file, no device and no right of the machine.
"""
