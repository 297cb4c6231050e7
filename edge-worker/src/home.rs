//! Bringing a delivery to the control plane.

use std::time::Duration;

use http::Uri;
use yardarm_core::edge::delivery::{self, Verdict};
use yardarm_core::time::Timestamp;

use crate::config::Config;
use crate::host::now_millis;
use crate::outbound::ask;

/// How long an exchange may take.
const EXCHANGE: Duration = Duration::from_secs(30);
/// The longest answer, in bytes, and how many characters of it are told.
const ANSWER: usize = 64 << 10;
const SHOWN: usize = 200;

/// Sends a delivery; gives what became of it, and what the operator has to know of that.
pub(crate) async fn send(config: &Config, body: Vec<u8>) -> (Verdict, String) {
    match exchange(config, body).await {
        Ok(answered) => answered,
        Err(problem) => (Verdict::Later, problem),
    }
}

async fn exchange(config: &Config, body: Vec<u8>) -> Result<(Verdict, String), String> {
    let Some((url, secret)) = config.control_plane() else {
        return Err("CONTROL_PLANE_URL needs the secret PUBLISHING_SECRET".to_owned());
    };
    let url = format!("{url}{}", delivery::PATH);
    let url = Uri::try_from(url).map_err(|error| error.to_string())?;
    let request = delivery::request(url, secret, body, Timestamp::from_millis(now_millis()));
    let request = request.map_err(|error| error.to_string())?;
    let answer = ask(&request, ANSWER, EXCHANGE).await?;
    let said = String::from_utf8_lossy(&answer.body);
    let status = answer.status.as_u16();
    let verdict = Verdict::of(status, &said);
    let said: String = said.chars().take(SHOWN).collect();
    Ok((verdict, format!("{status} {said}")))
}
