#!/bin/sh
# Our namespace and the search attributes of workflows/contract.py, once the server answers;
# harmless where they are there. TEMPORAL_ADDRESS is read by `temporal` itself.
set -eu
: "${NAMESPACE:=default}" "${RETENTION:=168h}"
: "${SEARCH_ATTRIBUTES:?names, with spaces between}"

tries=60
until temporal operator cluster health; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "Temporal did not answer" >&2; exit 1; }
  sleep 1
done

temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"

# A new namespace is known to the whole server only after some seconds.
tries=60
until known=$(temporal operator search-attribute list --namespace "$NAMESPACE" 2>/dev/null); do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "the namespace $NAMESPACE did not appear" >&2; exit 1; }
  sleep 1
done

for name in $SEARCH_ATTRIBUTES; do
  echo "$known" | grep -qw "$name" ||
    temporal operator search-attribute create --namespace "$NAMESPACE" --name "$name" --type Keyword
done
