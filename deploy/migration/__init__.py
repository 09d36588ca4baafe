"""Moving an embedded state folder to PostgreSQL and a bucket, whole and proven."""
