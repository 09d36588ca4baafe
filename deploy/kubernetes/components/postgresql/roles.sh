# After databases.sql. Runs are given Dagster's and MLflow's databases, and training code MLflow's: the
# role of each opens no other.
psql --set=ON_ERROR_STOP=1 --set=dagster="$DAGSTER_PASSWORD" --set=mlflow="$MLFLOW_PASSWORD" \
  --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE dagster LOGIN PASSWORD :'dagster';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
ALTER DATABASE dagster OWNER TO dagster;
ALTER DATABASE mlflow OWNER TO mlflow;
REVOKE CONNECT ON DATABASE dagster, mlflow, orrery, postgres FROM PUBLIC;
SQL
