"""api_client.py URL TOKEN SECOND: asks for `up` of jobs a (1) and b (0) at a second, in each way that the library has."""
import sys
from datetime import datetime, timezone
from prometheus_api_client import PrometheusConnect

url, token, second = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = PrometheusConnect(url=url, headers={"Authorization": "Bearer " + token})
assert client.check_prometheus_connection()
at = lambda offset: datetime.fromtimestamp(second + offset, timezone.utc)
assert "up" in client.all_metrics(), client.all_metrics()
assert "job" in client.get_label_names(), client.get_label_names()
assert client.get_label_values("job") == ["a", "b"], client.get_label_values("job")
[one] = client.custom_query("sum(up)", params={"time": second})
assert one["value"] == [second, "1"], one
[row] = client.custom_query_range("up{job='a'}", at(0), at(30), "15")
assert row["values"] == [[second + offset, "1"] for offset in (0, 15, 30)], row
samples = client.get_metric_range_data("up", {"job": "b"}, at(-60), at(60))
assert [own["values"] for own in samples] == [[[second, "0"]]], samples
current = client.get_current_metric_value("up", {"job": "a"}, params={"time": second})
assert [own["value"] for own in current] == [[second, "1"]], current
print("read")
