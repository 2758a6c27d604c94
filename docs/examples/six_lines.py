import json, os
from urllib.request import Request, urlopen

event = {"topic": "orders", "key": "order-A-17", "data": {"order": "A-17"}}
headers = {"Authorization": "Bearer " + os.environ["KEY"], "Content-Type": "application/json"}
request = Request(os.environ["URL"] + "/v1/events", json.dumps(event).encode(), headers)
print(urlopen(request).read().decode())
