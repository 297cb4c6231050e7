//! Requests that only store traits, of which the answers tell nothing but that it was done.

use http::{Method, StatusCode};
use rand::Rng as _;
use serde_json::{Value, json};
use yardarm_core::snapshot::Side;

use crate::traffic::{Asked, Driver, IDENTITIES};
use crate::traits::Change;
use crate::wire::send;

impl Driver {
    /// `PUT /traits/bulk/` for two of its own.
    pub(crate) async fn bulk(&mut self) {
        let first = self.random.random_range(0..IDENTITIES);
        let numbers = [first, (first + 1) % IDENTITIES];
        let changes: Vec<(usize, Change)> = numbers
            .iter()
            .map(|number| (*number, self.some_trait()))
            .collect();
        let body: Vec<Value> = changes
            .iter()
            .map(|(number, (key, value))| {
                let identifier = &self.identities[*number].0;
                json!({"identity": {"identifier": identifier}, "trait_key": key, "trait_value": value})
            })
            .collect();
        let request = send(
            Method::PUT,
            "/api/v1/traits/bulk/",
            self.key(Side::Server),
            &Value::from(body),
        );
        let asked = self.ask("bulk traits", request).await;
        self.settle("bulk traits", asked.as_ref(), changes);
    }

    /// `POST /traits/increment-value/` for one of its own.
    pub(crate) async fn increment(&mut self) {
        let number = self.random.random_range(0..IDENTITIES);
        let (name, stored) = &self.identities[number];
        let Some(before) = stored.number("visits") else {
            return;
        };
        let by = self.random.random_range(-2..5);
        let body = json!({"identifier": name, "trait_key": "visits", "increment_by": by});
        let path = "/api/v1/traits/increment-value/";
        let request = send(Method::POST, path, self.key(Side::Client), &body);
        let asked = self.ask("increment", request).await;
        let change = ("visits".to_owned(), Some(json!(before + by)));
        self.settle("increment", asked.as_ref(), vec![(number, change)]);
    }

    fn settle(&mut self, kind: &str, asked: Option<&Asked>, changes: Vec<(usize, Change)>) {
        let confirmed = match asked {
            None => false,
            Some(asked) if asked.answer.status() == StatusCode::OK => true,
            Some(asked) => {
                let told = String::from_utf8_lossy(asked.answer.body()).into_owned();
                return self.wrong(kind, &format!("{} {told}", asked.answer.status()));
            }
        };
        for (number, change) in changes {
            let stored = &mut self.identities[number].1;
            if confirmed {
                stored.confirm(&[change]);
            } else {
                stored.doubt(&[change]);
            }
        }
        if confirmed {
            self.run.report.right();
        }
    }
}
