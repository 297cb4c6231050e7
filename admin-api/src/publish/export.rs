//! A target that is a store of files: a bucket of an S3-compatible service, or a folder.
//!
//! ```text
//! <prefix>/public/<environment>/<content hash>/flags.json                  what GET /flags/ says, client-side
//! <prefix>/public/<environment>/latest.json                                which one counts; written last
//! <prefix>/private/<environment>/<content hash>/environment-document.json  what a server-side key may see
//! <prefix>/private/<environment>/latest.json
//! ```
//!
//! Files below a hash never change. Once replaced they stay for a while, for clients that still hold the
//! pointer to them.

use std::path::{Component, Path as Folder, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutOptions,
    RetryConfig,
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use yardarm_core::snapshot::{Package, Side};

use super::push::HeldVersion;

/// The part that anyone may read.
const PUBLIC: &str = "public";
/// The part for holders of a server-side key.
const PRIVATE: &str = "private";
const POINTER: &str = "latest.json";
const FLAGS: &str = "flags.json";
/// How many pointers are read at once.
const AT_ONCE: usize = 8;
/// Jobs try again themselves.
const TRIES: usize = 2;
const CALL: Duration = Duration::from_secs(30);

/// What the operator decides about exports.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// The folder below which exports to `file:` targets may write; without one there are none.
    pub folder: Option<PathBuf>,
    /// How long replaced files stay.
    pub retention: Duration,
}

impl Default for ExportSettings {
    fn default() -> Self {
        Self {
            folder: None,
            retention: Duration::from_hours(7 * 24),
        }
    }
}

/// Whether a target's URL is that of a store rather than of an edge.
pub(crate) fn is_export(url: &str) -> bool {
    url.starts_with("s3:") || url.starts_with("file:")
}

/// What `latest.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Pointer {
    environment_key: String,
    version: u64,
    content_hash: String,
    /// When the environment last changed, Unix seconds.
    updated_at: f64,
    /// The file that counts, from where the pointer is.
    path: String,
    /// How many files it comes in; the second is named `…-2.json`.
    #[serde(default)]
    pages: u32,
}

/// The file of a page of the environment document, counted from 0.
fn page_name(number: u32) -> String {
    match number {
        0 => "environment-document.json".to_owned(),
        _ => format!("environment-document-{}.json", number + 1),
    }
}

/// A store to export to.
#[derive(Debug)]
pub(super) struct Export {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Whether files can be given a media type and caching rules.
    with_attributes: bool,
}

impl Export {
    /// The store a target names. The secret is `<access key id>:<secret access key>`.
    pub(super) fn open(url: &str, secret: &str, settings: &ExportSettings) -> anyhow::Result<Self> {
        if let Some(objection) = objection(url) {
            bail!(objection);
        }
        let url = Url::parse(url).context("the target's URL")?;
        if url.scheme() == "file" {
            let folder = url.to_file_path().unwrap_or_default();
            let allowed = settings.folder.as_deref();
            let fits = allowed.is_some_and(|allowed| is_below(&folder, allowed));
            anyhow::ensure!(fits, "{}", not_allowed(allowed));
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("folder {}", folder.display()))?;
            return Ok(Self {
                store: Arc::new(LocalFileSystem::new_with_prefix(&folder)?),
                prefix: Path::default(),
                with_attributes: false,
            });
        }
        let (id, key) = secret
            .split_once(':')
            .context("the secret is not <access key id>:<secret access key>")?;
        let named = |name: &str| {
            let value = url.query_pairs().find(|(key, _)| key == name);
            value.map(|(_, value)| value.into_owned())
        };
        let retries = RetryConfig {
            max_retries: TRIES,
            retry_timeout: CALL,
            ..RetryConfig::default()
        };
        let mut store = AmazonS3Builder::new()
            .with_bucket_name(url.host_str().unwrap_or_default())
            .with_region(named("region").unwrap_or_else(|| "auto".to_owned()))
            .with_access_key_id(id)
            .with_secret_access_key(key)
            // Not every service knows the call that deletes many.
            .with_disable_bulk_delete(true)
            .with_retry(retries);
        let mut options = ClientOptions::new().with_timeout(CALL);
        if let Some(endpoint) = named("endpoint") {
            options = options.with_allow_http(endpoint.starts_with("http://"));
            store = store.with_endpoint(endpoint);
        }
        Ok(Self {
            store: Arc::new(store.with_client_options(options).build()?),
            prefix: Path::from_url_path(url.path())?,
            with_attributes: true,
        })
    }

    /// Writes a version of an environment unless the store has a newer one; one that is gone, or may not be
    /// served, is taken away.
    pub(super) async fn put(
        &self,
        environment_key: &str,
        package: &Package,
        keep_after: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let held = self.pointer(PUBLIC, environment_key).await?;
        let meta = package.meta();
        if held
            .as_ref()
            .is_some_and(|held| held.version > meta.version)
        {
            return Ok(());
        }
        if meta.gone {
            return self.take_away(environment_key).await;
        }
        let snapshot = package.opened();
        if snapshot.settings().stop_serving_flags {
            return self.take_away(environment_key).await;
        }
        let hash = snapshot.content_hash();
        let pages = snapshot.document_pages();
        for number in 0..pages {
            let page = package.document_page(number);
            let page = page.context("a page of the document is missing")?;
            let file = self.below(PRIVATE, environment_key).join(hash);
            let file = file.join(page_name(number));
            self.write(&file, page, "private, max-age=31536000, immutable")
                .await?;
        }
        let flags = self.below(PUBLIC, environment_key).join(hash).join(FLAGS);
        let body = snapshot.flags(Side::Client).0;
        self.write(&flags, body, "public, max-age=31536000, immutable")
            .await?;
        let parts = [
            (PRIVATE, page_name(0), pages, "private, no-cache"),
            (
                PUBLIC,
                FLAGS.to_owned(),
                1,
                "public, max-age=2, stale-if-error=86400",
            ),
        ];
        for (part, name, pages, caching) in parts {
            let pointer = Pointer {
                environment_key: environment_key.to_owned(),
                version: meta.version,
                content_hash: hash.to_owned(),
                #[expect(clippy::cast_precision_loss, reason = "microseconds fit until 2255")]
                updated_at: snapshot.updated_at().micros() as f64 / 1e6,
                path: format!("{hash}/{name}"),
                pages,
            };
            let at = self.below(part, environment_key).join(POINTER);
            self.write(&at, serde_json::to_vec(&pointer)?.into(), caching)
                .await?;
        }
        let before = held.map(|held| held.content_hash);
        self.sweep(
            environment_key,
            &[Some(hash), before.as_deref()],
            keep_after,
        )
        .await
    }

    /// The versions that the store has of these environments.
    pub(super) async fn held(
        &self,
        environment_keys: Vec<String>,
    ) -> anyhow::Result<Vec<HeldVersion>> {
        let reading = stream::iter(environment_keys).map(async |key| {
            let pointer = self.pointer(PUBLIC, &key).await?;
            anyhow::Ok(pointer.map(|pointer| HeldVersion {
                environment_key: key,
                version: pointer.version,
            }))
        });
        let held: Vec<_> = reading.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(held.into_iter().flatten().collect())
    }

    async fn pointer(&self, part: &str, key: &str) -> anyhow::Result<Option<Pointer>> {
        let at = self.below(part, key).join(POINTER);
        let body = match self.store.get(&at).await {
            Ok(found) => found.bytes().await?,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // One that cannot be read is written anew.
        Ok(serde_json::from_slice(&body).ok())
    }

    async fn write(
        &self,
        at: &Path,
        body: bytes::Bytes,
        caching: &'static str,
    ) -> anyhow::Result<()> {
        let mut options = PutOptions::default();
        if self.with_attributes {
            let mut attributes = Attributes::new();
            attributes.insert(Attribute::ContentType, "application/json".into());
            attributes.insert(Attribute::CacheControl, caching.into());
            options.attributes = attributes;
        }
        self.store.put_opts(at, body.into(), options).await?;
        Ok(())
    }

    /// Deletes files of other hashes that were written before the time given.
    async fn sweep(
        &self,
        environment_key: &str,
        hashes: &[Option<&str>],
        keep_after: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        for part in [PUBLIC, PRIVATE] {
            let folder = self.below(part, environment_key);
            let mut files = self.store.list(Some(&folder));
            while let Some(file) = files.try_next().await? {
                let mut below = file.location.prefix_match(&folder).into_iter().flatten();
                let first = below.next();
                let name = first.as_ref().map_or("", AsRef::as_ref);
                let stays = name == POINTER || hashes.contains(&Some(name));
                if !stays && file.last_modified < keep_after {
                    self.delete(&file.location).await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes all of an environment, pointers first.
    async fn take_away(&self, environment_key: &str) -> anyhow::Result<()> {
        for part in [PUBLIC, PRIVATE] {
            let folder = self.below(part, environment_key);
            self.delete(&folder.clone().join(POINTER)).await?;
            let mut files = self.store.list(Some(&folder));
            while let Some(file) = files.try_next().await? {
                self.delete(&file.location).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, at: &Path) -> anyhow::Result<()> {
        match self.store.delete(at).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn below(&self, part: &str, environment_key: &str) -> Path {
        self.prefix.clone().join(part).join(environment_key)
    }
}

fn is_below(folder: &Folder, allowed: &Folder) -> bool {
    let climbs = folder.components().any(|part| part == Component::ParentDir);
    folder.is_absolute() && !climbs && folder.starts_with(allowed)
}

fn not_allowed(allowed: Option<&Folder>) -> String {
    match allowed {
        None => {
            "exports to folders are off: YARDARM_EXPORT_DIR says where they may write".to_owned()
        }
        Some(allowed) => format!("exports may write below {} only", allowed.display()),
    }
}

/// What is wrong with the URL of a store, if anything.
pub(crate) fn objection(url: &str) -> Option<&'static str> {
    let Ok(parsed) = Url::parse(url) else {
        return Some("Enter a valid URL.");
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Some("The URL must not contain credentials; the secret is a field of its own.");
    }
    if parsed.scheme() == "file" {
        let is_folder = parsed.query().is_none() && parsed.to_file_path().is_ok();
        return (!is_folder).then_some("Enter file:// and an absolute path.");
    }
    if parsed.host_str().is_none_or(str::is_empty) {
        return Some("Enter s3://, a bucket, and a prefix if you like.");
    }
    let known = |name: &str| matches!(name, "endpoint" | "region");
    let unknown = parsed.query_pairs().any(|(name, _)| !known(&name));
    (unknown || parsed.fragment().is_some())
        .then_some("Of a bucket's URL only `endpoint` and `region` are known parameters.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_stores() {
        for url in [
            "s3://bucket",
            "s3://bucket/a/prefix?region=eu-west-1",
            "s3://bucket/?endpoint=https%3A%2F%2Faccount.r2.cloudflarestorage.com",
            "file:///srv/flags",
        ] {
            assert!(is_export(url) && objection(url).is_none(), "{url}");
        }
        for url in [
            "s3:",
            "s3://",
            "s3://id:key@bucket",
            "s3://bucket?x=1",
            "file://host/x",
            "file:///x?y=1",
        ] {
            assert!(is_export(url) && objection(url).is_some(), "{url}");
        }
        assert!(!is_export("https://edge.example.com"));
    }

    #[test]
    fn folders_below_the_one_allowed() {
        let allowed = Folder::new("/srv/flags");
        assert!(is_below(Folder::new("/srv/flags"), allowed));
        assert!(is_below(Folder::new("/srv/flags/team"), allowed));
        for other in ["/srv", "/srv/flags2", "/srv/flags/../x", "srv/flags", ""] {
            assert!(!is_below(Folder::new(other), allowed), "{other}");
        }
    }
}
