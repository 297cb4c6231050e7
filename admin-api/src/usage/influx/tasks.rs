//! The tasks that sum counts up within InfluxDB, as Flagsmith documents them: the same names, measurements and buckets.
//!
//! They look back further than Flagsmith's, which only see what was counted within two of their periods: an edge may
//! deliver an hour late. Windows are written whole, so doing it again comes to the same.

use super::flux::text;

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// By this name it is known.
    pub name: &'static str,
    /// The bucket that it writes to.
    pub bucket: String,
    /// What it does, in Flux.
    pub flux: String,
}

/// The tasks for a bucket.
pub fn tasks(bucket: &str) -> Vec<Task> {
    let quarter = Period {
        every: "15m",
        back: "3h",
    };
    let hour = Period {
        every: "1h",
        back: "6h",
    };
    vec![
        task("Downsample (API Requests)", bucket, "api_call", quarter),
        task(
            "Downsample (Flag Evaluations)",
            bucket,
            "feature_evaluation",
            quarter,
        ),
        task("Downsample API 1h", bucket, "api_call", hour),
        task(
            "Downsample API 1h - Flag Analytics",
            bucket,
            "feature_evaluation",
            hour,
        ),
    ]
}

#[derive(Clone, Copy)]
struct Period {
    every: &'static str,
    back: &'static str,
}

fn task(name: &'static str, from: &str, measurement: &str, period: Period) -> Task {
    let Period { every, back } = period;
    let bucket = format!("{from}_downsampled_{every}");
    let flux = format!(
        "option task = {{name: {}, every: {every}}}\n\n\
         from(bucket: {})\n  |> range(start: -{back})\n  \
         |> filter(fn: (r) => r._measurement == {} and r._field == \"request_count\")\n  \
         |> aggregateWindow(every: {every}, fn: sum, createEmpty: false)\n  \
         |> to(bucket: {})\n",
        text(name),
        text(from),
        text(measurement),
        text(&bucket),
    );
    Task { name, bucket, flux }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measurement_is_summed_up_by_quarter_and_hour() {
        let tasks = tasks("default");
        let buckets: Vec<&str> = tasks.iter().map(|task| task.bucket.as_str()).collect();
        assert_eq!(
            buckets,
            [
                "default_downsampled_15m",
                "default_downsampled_15m",
                "default_downsampled_1h",
                "default_downsampled_1h"
            ]
        );
        assert_eq!(
            tasks[1].flux,
            r#"option task = {name: "Downsample (Flag Evaluations)", every: 15m}

from(bucket: "default")
  |> range(start: -3h)
  |> filter(fn: (r) => r._measurement == "feature_evaluation" and r._field == "request_count")
  |> aggregateWindow(every: 15m, fn: sum, createEmpty: false)
  |> to(bucket: "default_downsampled_15m")
"#
        );
    }
}
