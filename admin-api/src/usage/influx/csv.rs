//! What InfluxDB answers: tables as CSV, each with a header of its own.

use std::collections::HashMap;

use anyhow::bail;
use chrono::{DateTime, NaiveDate, Utc};
use csv::{ReaderBuilder, StringRecord};
use yardarm_core::edge::delivery::Labels;

use super::super::counts::LABELS;
use super::line::agent;

/// One row, by the names of its columns.
#[derive(Debug, PartialEq)]
pub(super) struct Record(HashMap<String, String>);

impl Record {
    /// A column; an empty one is none.
    pub(super) fn get(&self, column: &str) -> Option<&str> {
        self.0
            .get(column)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// The day of `_time`.
    pub(super) fn day(&self) -> Option<NaiveDate> {
        let time = DateTime::parse_from_rfc3339(self.get("_time")?).ok()?;
        Some(time.with_timezone(&Utc).date_naive())
    }

    /// The sum.
    pub(super) fn value(&self) -> Option<i64> {
        self.get("_value")?.parse().ok()
    }

    /// The labels.
    pub(super) fn labels(&self) -> Labels {
        let mut labels = Labels::default();
        for (name, label) in LABELS {
            let text = self.get(name).map(|text| match name {
                "user_agent" => agent(text),
                _ => text.to_owned(),
            });
            *label(&mut labels) = text;
        }
        labels
    }
}

/// Reads all tables.
pub(super) fn read(body: &[u8]) -> anyhow::Result<Vec<Record>> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(body);
    let mut header: Option<StringRecord> = None;
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row?;
        let columns: Vec<&str> = row.iter().collect();
        match columns[..] {
            // The first is how a failure begins that comes after the answer has.
            ["error", "reference"] | [_, "result", "table", ..] => header = Some(row),
            _ => {
                let Some(header) = &header else {
                    bail!("InfluxDB answers something else than tables");
                };
                if header.get(0) == Some("error") {
                    bail!("InfluxDB: {}", columns.first().unwrap_or(&""));
                }
                let names = header.iter().map(str::to_owned);
                records.push(Record(names.zip(row.iter().map(str::to_owned)).collect()));
            }
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_headers_of_their_own() {
        let body = ",result,table,_time,_value,resource\r\n\
            ,_result,0,2026-01-01T00:00:00Z,7,flags\r\n\
            ,_result,0,2026-01-02T00:00:00Z,,flags\r\n\
            \r\n\
            ,result,table,client_application_name,user_agent,_time,_value,resource\r\n\
            ,_result,1,\"a, \"\"b\"\"\",30000,2026-01-01T00:00:00Z,5,traits\r\n\r\n";
        let rows = read(body.as_bytes()).unwrap();
        assert_eq!(rows.len(), 3);
        let day = NaiveDate::from_ymd_opt(2026, 1, 1);
        assert_eq!(
            (rows[0].day(), rows[0].value(), rows[0].labels()),
            (day, Some(7), Labels::default())
        );
        assert_eq!(rows[1].value(), None);
        let labels = rows[2].labels();
        assert_eq!(labels.client_application_name.as_deref(), Some("a, \"b\""));
        assert_eq!(
            labels.user_agent.as_deref(),
            Some("flagsmith-go-sdk/unknown")
        );
        assert_eq!(rows[2].get("resource"), Some("traits"));
        assert!(read(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_table_is_a_failure() {
        for body in [
            "{\"code\":\"x\"}",
            "error,reference\r\nout of memory,897\r\n",
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
