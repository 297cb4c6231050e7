//! The `OpenAPI` document around the operations.

use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

/// The document before the routes are added: title, version, how to authenticate.
pub(crate) fn document() -> OpenApi {
    let info = utoipa::openapi::InfoBuilder::new()
        .title("Yardarm")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Feature flags and remote config; compatible with Flagsmith's API.",
        ))
        .build();
    let mut document = utoipa::openapi::OpenApiBuilder::new().info(info).build();
    Security.modify(&mut document);
    document
}

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut OpenApi) {
        let token = ApiKeyValue::with_description(
            "Authorization",
            "`Token <key>`, with the key that login gave.",
        );
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::ApiKey(ApiKey::Header(token)));
    }
}
