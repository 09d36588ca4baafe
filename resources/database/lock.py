"""Opening databases, one at a time.

Alembic keeps what it migrates in module globals, and MLflow is half made while it is imported: two
threads of one process that open databases at once migrate each other's.
"""

import threading

OPENING_LOCK = threading.RLock()
