# After databases.sql. Training code is given MLflow's database: its role opens no other.
psql --set=ON_ERROR_STOP=1 --set=password="$MLFLOW_PASSWORD" \
  --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE mlflow LOGIN PASSWORD :'password';
ALTER DATABASE mlflow OWNER TO mlflow;
REVOKE CONNECT ON DATABASE dagster, orrery, postgres FROM PUBLIC;
SQL
