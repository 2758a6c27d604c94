#!/bin/sh
# Run once by the postgres image, on an empty volume: a role of Temporal's own, which makes its two
# databases and cannot read ours.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv password TEMPORAL_POSTGRES_PASSWORD
\getenv ours POSTGRES_DB
CREATE ROLE temporal LOGIN CREATEDB PASSWORD :'password';
REVOKE CONNECT ON DATABASE :"ours" FROM PUBLIC;
SQL
