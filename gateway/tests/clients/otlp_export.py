"""otlp_export.py URL TOKEN: a counter, an exponential histogram of deltas and a resource, exported once."""
import sys
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

exporter = OTLPMetricExporter(
    endpoint=sys.argv[1],
    headers={"Authorization": "Bearer " + sys.argv[2]},
    compression=Compression.Gzip,
    preferred_temporality={Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA},
    preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider([reader], resource=Resource({"service.name": "shop", "host.name": "h"}))
meter = provider.get_meter("m")
orders = meter.create_counter("orders")
took = meter.create_histogram("took", unit="s")
for i in range(5):
    orders.add(2, {"kind.of": "book"})
    took.record(0.25 * i)
if not provider.force_flush():
    sys.exit("it was not exported")
