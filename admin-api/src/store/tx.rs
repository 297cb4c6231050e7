//! The write transaction. It can only be committed together with what a change must cause: its audit
//! entry, new versions of the environments it changes, and the jobs that publish them. So none of
//! them can be forgotten, and each exists exactly when the change does.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use tokio_postgres::Error;
use uuid::Uuid;

use super::Queries as _;
use crate::http::Actor;
use crate::publish::{self, MountedSlot};
use crate::sql::store as sql;

/// A transaction that has not been committed. Dropping it rolls it back.
pub(crate) struct Write<'a> {
    transaction: Transaction<'a>,
    author: Option<(i64, String)>,
    now: DateTime<Utc>,
    mounted: MountedSlot,
}

impl<'a> Write<'a> {
    pub(super) fn new(
        transaction: Transaction<'a>,
        actor: Option<&Actor>,
        now: DateTime<Utc>,
        mounted: MountedSlot,
    ) -> Self {
        let author = actor.map(|actor| (actor.user_id, actor.email.clone()));
        Self {
            transaction,
            author,
            now,
            mounted,
        }
    }

    /// The one time of everything that this transaction writes.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Commits with what the change causes: one entry, or several (`vec![…]`). When it returns, this
    /// process serves the change itself, or two seconds have passed.
    pub(crate) async fn commit(self, entries: impl Into<Vec<Entry>>) -> Result<(), Error> {
        for entry in entries.into() {
            self.record(entry).await?;
        }
        let changed = publish::changed_keys(&self.transaction).await?;
        self.transaction.commit().await?;
        self.mounted.serve(&changed).await;
        Ok(())
    }

    /// Commits what leaves no trace in the audit log and changes no flag; `_reason` is for the reader.
    pub(crate) async fn commit_silently(self, _reason: &'static str) -> Result<(), Error> {
        self.transaction.commit().await
    }

    async fn record(&self, entry: Entry) -> Result<(), Error> {
        let Entry {
            object,
            id,
            uuid,
            log,
            organisation_id,
            project_id,
            environment_id,
            publish,
        } = entry;
        let (author_id, author) = match &self.author {
            Some((id, email)) => (Some(*id), Some(email.as_str())),
            None => (None, None),
        };
        self.run(
            sql::INSERT_AUDIT_LOG,
            [
                &self.now,
                &organisation_id,
                &project_id,
                &environment_id,
                &author_id,
                &author,
                &log,
                &object.key(),
                &id,
                &uuid,
            ],
        )
        .await?;
        // The database enqueues the publication of whatever takes a new version.
        match publish {
            Publish::Nothing => {}
            Publish::Environments(ids) => {
                self.run(sql::LOCK_ENVIRONMENTS, [&ids]).await?;
                self.run(sql::BUMP_ENVIRONMENTS, [&ids, &self.now]).await?;
            }
            Publish::Project(id) => self.bump(sql::LOCK_PROJECT_ENVIRONMENTS, id).await?,
            Publish::Organisation(id) => self.bump(sql::LOCK_ORGANISATION_ENVIRONMENTS, id).await?,
        }
        Ok(())
    }

    async fn bump(&self, lock: super::Sql<1>, parent: i64) -> Result<(), Error> {
        let ids: Vec<i64> = self.all(lock, [&parent]).await?;
        self.run(sql::BUMP_ENVIRONMENTS, [&ids, &self.now]).await?;
        Ok(())
    }
}

/// Statements run on the transaction; `commit` takes it by value and stays out of reach.
impl<'a> Deref for Write<'a> {
    type Target = Transaction<'a>;

    fn deref(&self) -> &Transaction<'a> {
        &self.transaction
    }
}

/// What an audit entry is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Object {
    User,
    Organisation,
    Project,
    Environment,
    EnvironmentKey,
    Feature,
    FeatureState,
    Segment,
    Identity,
    Tag,
    EdgeTarget,
}

impl Object {
    /// The `related_object_type` of the API.
    fn key(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Organisation => "ORGANISATION",
            Self::Project => "PROJECT",
            Self::Environment => "ENVIRONMENT",
            Self::EnvironmentKey => "ENVIRONMENT_API_KEY",
            Self::Feature => "FEATURE",
            Self::FeatureState => "FEATURE_STATE",
            Self::Segment => "SEGMENT",
            Self::Identity => "EDGE_IDENTITY",
            Self::Tag => "TAG",
            Self::EdgeTarget => "EDGE_TARGET",
        }
    }
}

/// Which environments the edges have to hear of again.
#[derive(Clone, Debug)]
enum Publish {
    Nothing,
    /// These environments, by id.
    Environments(Vec<i64>),
    /// Every environment of the project.
    Project(i64),
    /// Every environment of the organisation.
    Organisation(i64),
}

/// What happened, and what it causes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    object: Object,
    id: Option<i64>,
    uuid: Option<Uuid>,
    log: String,
    organisation_id: Option<i64>,
    project_id: Option<i64>,
    environment_id: Option<i64>,
    publish: Publish,
}

impl Entry {
    /// An entry about `object` number `id`; `log` is the sentence that people read.
    pub(crate) fn new(object: Object, id: i64, log: impl Into<String>) -> Self {
        Self {
            object,
            id: Some(id),
            uuid: None,
            log: log.into(),
            organisation_id: None,
            project_id: None,
            environment_id: None,
            publish: Publish::Nothing,
        }
    }

    /// The object's uuid as well.
    pub(crate) fn uuid(self, uuid: Uuid) -> Self {
        Self {
            uuid: Some(uuid),
            ..self
        }
    }

    /// The organisation it happened in.
    pub(crate) fn in_organisation(self, id: i64) -> Self {
        Self {
            organisation_id: Some(id),
            ..self
        }
    }

    /// The project it happened in.
    pub(crate) fn in_project(self, organisation_id: i64, id: i64) -> Self {
        Self {
            organisation_id: Some(organisation_id),
            project_id: Some(id),
            ..self
        }
    }

    /// The environment it happened in.
    pub(crate) fn in_environment(self, id: i64) -> Self {
        Self {
            environment_id: Some(id),
            ..self
        }
    }

    /// Gives these environments a new version and publishes them.
    pub(crate) fn publish_environments(self, ids: impl Into<Vec<i64>>) -> Self {
        Self {
            publish: Publish::Environments(ids.into()),
            ..self
        }
    }

    /// Gives every environment of the project a new version and publishes them.
    pub(crate) fn publish_project(self, id: i64) -> Self {
        Self {
            publish: Publish::Project(id),
            ..self
        }
    }

    /// Gives every environment of the organisation a new version and publishes them.
    pub(crate) fn publish_organisation(self, id: i64) -> Self {
        Self {
            publish: Publish::Organisation(id),
            ..self
        }
    }
}

impl From<Entry> for Vec<Entry> {
    fn from(entry: Entry) -> Self {
        vec![entry]
    }
}
