//! The JSON line that a client prints.

use serde::{Deserialize, Serialize};

/// The result of a measurement, as one JSON line. Unknown figures are `null`: the latency of
/// messages without a reply, and the CPU time of a server whose process id is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The name of the framework.
    pub framework: String,
    /// The name of the workload.
    pub workload: String,
    /// The number of connections.
    pub conns: usize,
    /// The number of callers per connection.
    pub inflight: usize,
    /// The number of bytes in the payload of a message.
    pub size: usize,
    /// The calls that ended in the interval; messages if they have no reply.
    pub calls: u64,
    /// Length of the interval in seconds.
    pub secs: f64,
    /// The number of calls per second.
    pub calls_per_s: f64,
    /// Median latency in microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile of the latency in microseconds.
    pub p99_us: Option<f64>,
    /// 99.9th percentile of the latency in microseconds.
    pub p999_us: Option<f64>,
    /// CPU time of the client in seconds, user and system.
    pub client_cpu_s: f64,
    /// CPU time of the server in seconds, user and system.
    pub server_cpu_s: Option<f64>,
    /// CPU time of the client per call in microseconds.
    pub client_cpu_us_per_call: f64,
    /// CPU time of the server per call in microseconds.
    pub server_cpu_us_per_call: Option<f64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Report;

    #[test]
    fn a_report_is_one_line_of_json_and_reads_back() {
        let report = Report {
            framework: "tonic".to_owned(),
            workload: "stream".to_owned(),
            conns: 1,
            inflight: 1,
            size: 32,
            calls: 3_000,
            secs: 1.5,
            calls_per_s: 2_000.0,
            p50_us: None,
            p99_us: None,
            p999_us: Some(12.5),
            client_cpu_s: 0.25,
            server_cpu_s: Some(0.5),
            client_cpu_us_per_call: 83.3,
            server_cpu_us_per_call: Some(166.7),
        };
        let line = serde_json::to_string(&report).unwrap();
        assert!(!line.contains('\n'));
        assert!(
            line.starts_with(r#"{"framework":"tonic","workload":"stream","conns":1,"#),
            "{line}"
        );
        assert!(
            line.contains(r#""p50_us":null,"p99_us":null,"p999_us":12.5"#),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
    }
}
