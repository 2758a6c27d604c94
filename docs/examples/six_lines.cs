var http = new HttpClient { BaseAddress = new Uri(Environment.GetEnvironmentVariable("URL")!) };
http.DefaultRequestHeaders.Add("Authorization", "Bearer " + Environment.GetEnvironmentVariable("KEY"));
var json = """{"topic": "orders", "key": "order-A-17", "data": {"order": "A-17"}}""";
var body = new StringContent(json, System.Text.Encoding.UTF8, "application/json");
var answer = await http.PostAsync("/v1/events", body);
Console.WriteLine(await answer.Content.ReadAsStringAsync());
