#!/bin/sh
# Temporal's two databases and their schemas; harmless where they are there, an upgrade where they
# are old. The password comes as SQL_PASSWORD, which temporal-sql-tool reads itself.
set -eu
: "${POSTGRES_HOST:=postgres}" "${POSTGRES_PORT:=5432}" "${POSTGRES_USER:=temporal}"
: "${SCHEMA_DIR:=/etc/temporal/schema/postgresql/v12}"

sql() {
  database=$1
  shift
  temporal-sql-tool --plugin postgres12 --endpoint "$POSTGRES_HOST" --port "$POSTGRES_PORT" \
    --user "$POSTGRES_USER" --database "$database" "$@"
}

sql temporal create-database
sql temporal setup-schema --version 0.0
sql temporal update-schema --schema-dir "$SCHEMA_DIR/temporal/versioned"
sql temporal_visibility create-database
sql temporal_visibility setup-schema --version 0.0
sql temporal_visibility update-schema --schema-dir "$SCHEMA_DIR/visibility/versioned"
