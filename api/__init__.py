"""The gateway: operations and their handlers, HTTP, access, agents, the UIs, jobs, and the command
line."""
