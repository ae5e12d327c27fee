"""Reads a text in the format OpenMetrics from the standard input, by the strict parser of prometheus_client."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
names = {family.name for family in families}
missing = {"rpc_server_call_duration_seconds", "rpc_client_call_duration_seconds"} - names
if missing:
    sys.exit(f"interop: OpenMetrics: there is no {missing}")
print(f"OpenMetrics: {len(families)} families: ok")
