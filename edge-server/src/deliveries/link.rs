//! The signed request that brings a delivery to the control plane, and what the answer means.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::{StatusCode, Uri};
use yardarm_core::edge::delivery::{self, Verdict};

use super::DeliverySettings;
use crate::host::now;
use crate::outbound::Client;

/// How long to wait for an answer.
const EXCHANGE: Duration = Duration::from_secs(30);
/// How much of an answer is read, and how much of that is shown to the operator, in characters.
const ANSWER: usize = 1 << 20;
const SHOWN: usize = 200;

/// The control plane as this edge reaches it.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    url: Uri,
    secret: Vec<u8>,
}

/// What became of a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Taken, now or before.
    Confirmed,
    /// It will never be taken.
    Refused(String),
    /// It would be taken in parts.
    TooLarge,
    /// The control plane answered, and could not take this one now.
    Troubled(String),
    /// Nobody answered, or somebody who does not know us: no other would be taken either.
    Unreached(String),
}

impl Link {
    pub(super) fn new(settings: &DeliverySettings) -> anyhow::Result<Self> {
        let base: Uri = settings.control_plane.parse()?;
        ensure!(
            matches!(base.scheme_str(), Some("http" | "https")),
            "not an http or https URL"
        );
        let path = format!("{}{}", base.path().trim_end_matches('/'), delivery::PATH);
        let mut parts = base.into_parts();
        parts.path_and_query = Some(path.parse()?);
        let url = Uri::from_parts(parts)?;
        let client = Client::new().context("cannot build the HTTP client")?;
        Ok(Self {
            client,
            url,
            secret: settings.secret.clone(),
        })
    }

    /// Sends a delivery, as JSON.
    pub(super) async fn send(&self, body: Vec<u8>) -> Sent {
        let request = delivery::request(self.url.clone(), &self.secret, body, now());
        let request = match request {
            Ok(request) => request,
            Err(error) => return Sent::Unreached(error.to_string()),
        };
        match self.client.send(request, ANSWER, EXCHANGE).await {
            Ok(answer) => judge(answer.status, &String::from_utf8_lossy(&answer.body)),
            Err(error) => Sent::Unreached(error.to_string()),
        }
    }
}

fn judge(status: StatusCode, said: &str) -> Sent {
    let said: String = said
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect();
    let told = |meaning: &str| {
        format!("answered {status}{meaning} {said}")
            .trim_end()
            .to_owned()
    };
    match Verdict::of(status.as_u16(), &said) {
        Verdict::Confirmed => return Sent::Confirmed,
        Verdict::Refused => return Sent::Refused(told("")),
        Verdict::TooLarge => return Sent::TooLarge,
        Verdict::Later => {}
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Sent::Unreached(told(
            ": no target has this edge's secret, or a clock is more than five minutes off",
        )),
        StatusCode::NOT_FOUND => Sent::Unreached(told(": no control plane at this URL")),
        _ if status.is_redirection() => {
            Sent::Unreached(told(": it redirects; give the URL it redirects to"))
        }
        _ => Sent::Troubled(told("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_protocol_says() {
        let of = |status: u16| judge(StatusCode::from_u16(status).unwrap(), "{why}\n");
        for status in [200, 202, 204] {
            assert_eq!(of(status), Sent::Confirmed);
        }
        assert_eq!(
            of(400),
            Sent::Refused("answered 400 Bad Request {why}".to_owned())
        );
        let proxy = judge(StatusCode::BAD_REQUEST, "<html>");
        assert_eq!(
            proxy,
            Sent::Troubled("answered 400 Bad Request <html>".to_owned())
        );
        assert_eq!(of(413), Sent::TooLarge);
        for status in [401, 403, 404, 301] {
            assert!(matches!(of(status), Sent::Unreached(_)), "{status}");
        }
        for status in [409, 429, 500, 503] {
            assert!(matches!(of(status), Sent::Troubled(_)), "{status}");
        }
    }

    #[test]
    fn a_url_is_checked_at_the_start() {
        let link = |url: &str| {
            Link::new(&DeliverySettings {
                control_plane: url.to_owned(),
                secret: Vec::new(),
                every: Duration::from_secs(1),
            })
        };
        let url = link("https://flags.example/").unwrap().url;
        assert_eq!(url, "https://flags.example/api/v1/edge/deliveries/");
        for wrong in ["", "flags.example", "ftp://flags.example", "http://"] {
            assert!(link(wrong).is_err(), "{wrong:?}");
        }
    }
}
