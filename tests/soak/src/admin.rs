//! The admin API, as one person uses it.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::{Value, json};
use yardarm_conformance::Target;

/// A person who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    target: Target,
    token: String,
}

impl Admin {
    /// Signs up as the first person, who may do everything.
    pub(crate) async fn sign_up(url: &str) -> anyhow::Result<Self> {
        let mut admin = Self {
            target: Target::new(url, "")?,
            token: String::new(),
        };
        let person = json!({
            "email": "soak@example.com", "password": "a-soak-password-1",
            "first_name": "Soak", "last_name": "Test", "superuser": true,
        });
        let session = admin.post("/api/v1/auth/users/", &person).await?;
        session["key"]
            .as_str()
            .context("no token")?
            .clone_into(&mut admin.token);
        Ok(admin)
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let named = format!("{method} {path}");
        let mut request = Request::builder().method(method).uri(path);
        if !self.token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Token {}", self.token));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                body.to_string().into()
            }
            None => Bytes::new(),
        };
        let answer = self.target.send(request.body(body)?).await?;
        let text = String::from_utf8_lossy(answer.body());
        if !answer.status().is_success() {
            bail!("{named} answered {}: {text}", answer.status());
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{named} answered no JSON"))
    }
}

/// The id that an answer has.
pub(crate) fn id(of: &Value) -> anyhow::Result<i64> {
    of["id"].as_i64().with_context(|| format!("no id in {of}"))
}
