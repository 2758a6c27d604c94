const answer = await fetch(`${process.env.URL}/v1/events`, {
  method: "POST",
  headers: { Authorization: `Bearer ${process.env.KEY}`, "Content-Type": "application/json" },
  body: JSON.stringify({ topic: "orders", key: "order-A-17", data: { order: "A-17" } }),
});
console.log(await answer.text());
