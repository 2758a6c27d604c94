curl -sS "$URL/v1/events" \
  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \
  -d '{"topic": "orders", "key": "order-A-17", "data": {"order": "A-17"}}'
