"""What operations take and answer, by family.

Written by `python -m api.client_code` from the table of operations; change that instead.
"""
