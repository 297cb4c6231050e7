//! `yardarm overrule-edges`: after the database was restored from a backup, the edges hold newer versions than it knows and
//! rightly refuse its own. This makes it right again, for whoever says so.

use clap::Args;

use crate::sql::command as sql;
use crate::store::{Entry, Object, Pool, Queries as _, row};

/// Whether to.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverruleEdges {
    /// Do it. Without this, it only tells what it would do.
    #[arg(long)]
    pub yes: bool,
}

row! {
    struct Edge {
        name: String,
        url: String,
        enabled: bool,
    }
}

row! {
    struct Published {
        id: i64,
        organisation_id: i64,
        environments: i64,
    }
}

impl OverruleEdges {
    /// Gives every environment, and every key that is to be refused, a newer version than an edge can hold: in one
    /// transaction, with an audit entry in every project. Returns what to tell the operator.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn run(self, pool: &Pool) -> anyhow::Result<String> {
        let mut db = pool.get().await?;
        let edges: Vec<Edge> = db.all(sql::EDGES, []).await?;
        let tx = db.write(None).await?;
        if self.yes {
            tx.run(sql::LOCK_PUBLICATIONS, []).await?;
        }
        let projects: Vec<Published> = tx.all(sql::PUBLISHED_PROJECTS, []).await?;
        let told = tell(&projects, &edges);
        if !self.yes {
            return Ok(format!(
                "Would overrule {told}Nothing was changed. If this is the database they should follow, and no copy of it, \
                 say: yardarm overrule-edges --yes\n"
            ));
        }
        tx.run(sql::ADVANCE_VERSIONS, []).await?;
        tx.run(sql::RENEW_TOMBSTONES, [&tx.now()]).await?;
        let entries = projects.iter().map(|project| {
            let log = "Edges overruled: every environment got a newer version";
            Entry::new(Object::Project, project.id, log)
                .in_project(project.organisation_id, project.id)
                .publish_project(project.id)
        });
        tx.commit(entries.collect::<Vec<_>>()).await?;
        Ok(format!("Overruled {told}"))
    }
}

fn tell(projects: &[Published], edges: &[Edge]) -> String {
    let environments: i64 = projects.iter().map(|project| project.environments).sum();
    let own = format!(
        "{environments} environments of {} projects, at the edge within the control plane",
        projects.len()
    );
    let others = edges.iter().map(|Edge { name, url, enabled }| {
        let later = if *enabled { "" } else { ", once it is enabled" };
        format!("\n  and at {name} ({url}){later}")
    });
    std::iter::once(own)
        .chain(others)
        .chain([String::from("\n")])
        .collect()
}
