#!/bin/sh
# docker-compose.yml for real: builds the image, starts everything with the simulator, sends a small
# campaign in it, checks that its report balances, removes it all again. `make compose-smoke`.
set -eu

fail() { echo "compose-smoke: $1" >&2; exit 1; }
command -v docker >/dev/null 2>&1 || fail "Docker is not installed here; this needs Docker with Compose 2.24 or newer."
docker compose version >/dev/null 2>&1 || fail "Docker is here, its plugin Compose is not; this needs Compose 2.24 or newer."
docker info >/dev/null 2>&1 || fail "The Docker daemon does not answer; start it and run this again."

cd "$(dirname "$0")/.."
work=$(mktemp -d)
people=200

# Settings of its own: no .env of yours, so no real account; ports that a running stack leaves free.
cat >"$work/env" <<END
COMPOSE_PROFILES=simulator
POSTGRES_PASSWORD=smoke-postgres
TEMPORAL_POSTGRES_PASSWORD=smoke-temporal
CARILLON_LINK_SECRET=smoke-links
CARILLON_WEB_PORT=18600
CARILLON_SIMULATOR_PORT=18610
CARILLON_TEMPORAL_UI_PORT=18243
END
compose() { ENV_FILE="$work/env" docker compose --project-name carillon-smoke --env-file "$work/env" "$@"; }
carillon() { compose run --rm --no-deps --no-TTY --user "$(id -u):$(id -g)" --volume "$work:/files" cli "$@"; }
finish() {
  code=$?
  [ "$code" -eq 0 ] || compose logs --tail 50 >&2 || true
  compose down --volumes --timeout 20 >&2 || true
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

{
  echo "email,first_name,last_name,locale,subscribed,plan,city,points"
  awk -v people="$people" 'BEGIN { for (n = 1; n <= people; n++)
    printf "person-%d@example.com,First%d,Last%d,en,yes,plus,Lisbon,%d\n", n, n, n, n }'
} >"$work/people.csv"

compose up --detach --build --wait --wait-timeout 300
carillon topic create smoke --name "Smoke test"
carillon recipients import /files/people.csv --topic smoke
template=$(carillon template publish /app/examples/newsletter)
id=$(carillon campaign create --name smoke --topic smoke --template "$template" --account simulator)
carillon campaign start "$id" --follow --json >"$work/report.json"
cat "$work/report.json"
for line in '"balanced": true' "\"accepted\": $people" '"owed": 0' '"state": "finished"'; do
  grep -qF "$line" "$work/report.json" || fail "the report does not say $line"
done
carillon audit
arrived=$(compose exec --no-TTY simulator sh -c 'wc -l < /data/simulator/received.jsonl')
[ "$arrived" -eq "$people" ] || fail "$arrived messages arrived at the simulator, not $people"
echo "compose-smoke: $people of $people accepted, the accounts balance."
