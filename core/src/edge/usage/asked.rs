//! A request that counts: what it asked for, and who asked, as its headers say.

use http::request::Parts;
use http::{HeaderName, HeaderValue, header};

use super::super::delivery::{Labels, Resource};
use super::super::route::Route;
use crate::snapshot::Snapshot;

/// Most characters of a label and of a host's name.
const MAX_LABEL: usize = 255;

/// The request headers that usage is counted by; nothing else reads them.
pub static LABEL_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("flagsmith-application-name"),
    HeaderName::from_static("flagsmith-application-version"),
    HeaderName::from_static("flagsmith-sdk-user-agent"),
    header::USER_AGENT,
    header::HOST,
];

/// Whether usage is counted below this path, so that its label headers are wanted.
pub fn is_labelled(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/ofrep/")
}

/// What a route counts as; nothing for the rest. By the first part of the path, as in Flagsmith.
pub(in super::super) const fn resource_of(route: &Route<'_>) -> Option<Resource> {
    Some(match route {
        Route::Flags | Route::FlagsOf(_) | Route::MultivariateOptions(_) => Resource::Flags,
        Route::Identities | Route::Identity(_) | Route::IdentityTrait(..) => Resource::Identities,
        Route::Traits | Route::TraitsBulk | Route::TraitsIncrement => Resource::Traits,
        Route::Document => Resource::EnvironmentDocument,
        _ => return None,
    })
}

/// A request to be counted: one with a valid key, whatever became of it. Making one copies no text.
#[derive(Debug, Clone)]
pub struct Counted {
    /// What was asked for.
    pub resource: Resource,
    /// Of which environment.
    pub snapshot: Snapshot,
    /// By whom.
    pub origin: Origin,
}

/// Where a request came from, as its headers stood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    host: Option<HeaderValue>,
    application_name: Option<HeaderValue>,
    application_version: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

impl Origin {
    pub(in super::super) fn of(head: &Parts) -> Self {
        let mut found = [None; LABEL_HEADERS.len()];
        for (name, value) in &head.headers {
            if let Some(at) = LABEL_HEADERS.iter().position(|label| label == name) {
                found[at].get_or_insert(value);
            }
        }
        let [application_name, application_version, sdk, agent, host] = found;
        // HTTP/2 names the host in the target.
        let host = host.cloned().or_else(|| {
            let authority = head.uri.authority()?;
            HeaderValue::from_str(authority.as_str()).ok()
        });
        Self {
            host,
            application_name: application_name.cloned(),
            application_version: application_version.cloned(),
            user_agent: sdk.or(agent.filter(|agent| is_sdk(agent))).cloned(),
        }
    }

    /// The host that was asked; empty when unknown.
    pub(super) fn host(&self) -> &str {
        text(self.host.as_ref()).unwrap_or_default()
    }

    /// Application name, application version, user agent.
    pub(super) fn labels(&self) -> [Option<&str>; 3] {
        [
            text(self.application_name.as_ref()),
            text(self.application_version.as_ref()),
            text(self.user_agent.as_ref()),
        ]
    }

    /// The labels as they travel.
    pub(in super::super) fn to_labels(&self) -> Labels {
        let [name, version, agent] = self.labels().map(|label| label.map(str::to_owned));
        Labels {
            client_application_name: name,
            client_application_version: version,
            user_agent: agent,
        }
    }
}

/// Whether a `User-Agent` names an SDK. Browsers keep it to themselves, which is why SDKs have a header of their own; what
/// browsers, health checks and scrapers say there is no SDK, and there is no end of it.
fn is_sdk(agent: &HeaderValue) -> bool {
    let start = agent.as_bytes().get(..b"flagsmith".len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"flagsmith"))
}

/// A header as text of bounded length; what is empty or no text is as if it had not been sent.
fn text(value: Option<&HeaderValue>) -> Option<&str> {
    let text = str::from_utf8(value?.as_bytes()).ok()?;
    if text.is_empty() {
        return None;
    }
    if text.len() <= MAX_LABEL {
        return Some(text);
    }
    let end = text.char_indices().nth(MAX_LABEL);
    Some(end.map_or(text, |(end, _)| &text[..end]))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn origin(uri: &str, headers: &[(&str, &str)]) -> Origin {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request = request.header(*name, value);
        }
        Origin::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn labels_are_what_the_sdk_says_of_itself() {
        let full = origin(
            "/api/v1/flags/",
            &[
                ("Host", "flags.example:8000"),
                ("Flagsmith-Application-Name", "shop"),
                ("Flagsmith-Application-Version", "1.2"),
                ("Flagsmith-SDK-User-Agent", "flagsmith-js-sdk/9.0.0"),
                ("User-Agent", "Mozilla/5.0"),
            ],
        );
        assert_eq!(full.host(), "flags.example:8000");
        let expected = [Some("shop"), Some("1.2"), Some("flagsmith-js-sdk/9.0.0")];
        assert_eq!(full.labels(), expected);
        let agent = |agent| origin("/", &[("User-Agent", agent)]).to_labels().user_agent;
        assert_eq!(
            agent("Flagsmith-python-sdk/5.0").as_deref(),
            Some("Flagsmith-python-sdk/5.0")
        );
        for other in ["Mozilla/5.0", "flags", "", "flagsmit\u{130}"] {
            assert_eq!(agent(other), None, "{other:?}");
        }
        assert_eq!(origin("/", &[]).labels(), [None; 3]);
        assert_eq!(origin("/", &[]).host(), "");
        assert_eq!(origin("https://h2.example/", &[]).host(), "h2.example");
    }

    #[test]
    fn labels_are_bounded_text() {
        let long = "é".repeat(300);
        let named = |name: &str| {
            let origin = origin("/", &[("Flagsmith-Application-Name", name)]);
            origin.to_labels().client_application_name
        };
        assert_eq!(named(&long).unwrap(), "é".repeat(255));
        assert_eq!(named(&"é".repeat(255)).unwrap().chars().count(), 255);
        assert_eq!(named(""), None);
        let mut broken = origin("/", &[]);
        broken.application_name = HeaderValue::from_bytes(b"\xff").ok();
        assert_eq!(broken.labels(), [None; 3]);
    }

    #[test]
    fn resources_are_told_by_the_first_part_of_the_path() {
        for (path, resource) in [
            ("/api/v1/flags/", Some(Resource::Flags)),
            ("/api/v1/flags/ann", Some(Resource::Flags)),
            (
                "/api/v1/flags/1/multivariate-options/",
                Some(Resource::Flags),
            ),
            ("/api/v1/identities/", Some(Resource::Identities)),
            ("/api/v1/identities/a/traits/b", Some(Resource::Identities)),
            ("/api/v1/traits/", Some(Resource::Traits)),
            ("/api/v1/traits/bulk/", Some(Resource::Traits)),
            ("/api/v1/traits/increment-value/", Some(Resource::Traits)),
            (
                "/api/v1/environment-document/",
                Some(Resource::EnvironmentDocument),
            ),
            ("/api/v1/analytics/flags/", None),
            ("/health", None),
            ("/api/v1/flags", None),
        ] {
            assert_eq!(resource_of(&Route::of(path)), resource, "{path}");
        }
    }
}
