#!/usr/bin/env bash
# One role and one database a service, with the passwords that `spoel init` made. The postgres image runs it once, on
# an empty data directory, as the superuser. Passwords come from files and never stand in an argument.
set -Eeuo pipefail

for service in intake planning audit; do
  SPOEL_DATABASE_PASSWORD="$(< "${SPOEL_SECRETS_DIR}/postgres-${service}")"
  export SPOEL_DATABASE_PASSWORD
  psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=name="spoel_${service}" \
    --username="${POSTGRES_USER}" --dbname="${POSTGRES_DB}" <<'SQL'
\getenv password SPOEL_DATABASE_PASSWORD
CREATE ROLE :"name" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
-- An idle transaction would hold back the horizon up to which the relay may publish.
ALTER ROLE :"name" SET idle_in_transaction_session_timeout = '30s';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
unset SPOEL_DATABASE_PASSWORD

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER}" --dbname="${POSTGRES_DB}" \
  --command='REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC'
