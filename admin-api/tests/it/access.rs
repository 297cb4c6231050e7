//! Who may do what. Every operation of the document is called as nobody, as a stranger to the
//! organisation and as a plain member of it; the statuses stand in `access.txt`, so that a change of
//! anybody's rights shows in review. Rewrite it with `UPDATE_GOLDEN=1 cargo test -p yardarm --test it access`.

use std::fmt::Write as _;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

/// What can be called without logging in.
const PUBLIC: &[&str] = &[
    "auth_login_create",
    "auth_users_create",
    "auth_users_reset_password_create",
    "health",
    "health_liveness",
    "health_readiness",
    "healthcheck",
    "robots",
    "users_config_init_create",
    "users_config_init_retrieve",
    "users_init_retrieve",
    "version_retrieve",
];

struct World {
    app: TestApp,
    organisation: i64,
    project: i64,
    environment: String,
    admin: i64,
}

impl World {
    async fn make() -> Self {
        let app = TestApp::start().await;
        let ann = app.person("ann").await;
        let organisation = app.organisation("Acme", &ann).await;
        let body = json!({"name": "Main", "organisation": organisation});
        let project = ann.post("/api/v1/projects/", body).await.expect(201)["id"]
            .as_i64()
            .unwrap();
        let body = json!({"name": "Development", "project": project, "api_key": "the-key"});
        ann.post("/api/v1/environments/", body).await.expect(201);
        let key = json!({"name": "server"});
        ann.post("/api/v1/environments/the-key/api-keys/", key)
            .await
            .expect(201);
        Self {
            app,
            organisation,
            project,
            environment: "the-key".to_owned(),
            admin: ann.id,
        }
    }

    /// The path with things that exist in it.
    async fn fill(&self, path: &str) -> String {
        let mut filled = path
            .replace("{organisation_pk}", &self.organisation.to_string())
            .replace("{project_pk}", &self.project.to_string())
            .replace("{environment_api_key}", &self.environment)
            .replace("{user_pk}", &self.admin.to_string());
        if let Some(table) = ["organisation", "project", "environment"]
            .iter()
            .find(|table| path.contains(&format!("/{table}s/get-by-uuid/")))
        {
            let row = self
                .app
                .sql()
                .await
                .query_one(&format!("select uuid::text from {table}"), &[])
                .await
                .unwrap();
            filled = filled.replace("{uuid}", row.get(0));
        }
        while let (Some(from), Some(to)) = (filled.find('{'), filled.find('}')) {
            filled.replace_range(from..=to, "1");
        }
        if path == "/api/v1/environments/" {
            write!(filled, "?project={}", self.project).unwrap();
        }
        filled
    }
}

#[tokio::test]
async fn nobody_a_stranger_and_a_plain_member() {
    let world = World::make().await;
    let document: Value = serde_json::to_value(yardarm::router::openapi()).unwrap();
    let mut table = Vec::new();
    let mut wrong = Vec::new();
    let mut number = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let filled = world.fill(path).await;
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let method: Method = method.to_uppercase().parse().unwrap();
            let body = (method != Method::GET).then(|| json!({}));
            // Somebody new each time: some operations end the caller's session.
            number += 1;
            let stranger = world.app.person(&format!("stranger{number}")).await;
            let member = world.app.person(&format!("member{number}")).await;
            world.app.join(world.organisation, &member, "USER").await;
            let mut statuses = Vec::new();
            for person in [&world.app.nobody(), &stranger, &member] {
                statuses.push(call(person, &method, &filled, body.as_ref()).await);
            }
            if statuses[0] != 401 && !PUBLIC.contains(&id) {
                wrong.push(format!("{id} answers nobody with {}", statuses[0]));
            }
            let reaches = [
                "{organisation_pk}",
                "{project_pk}",
                "{environment_api_key}",
                "{uuid}",
            ]
            .iter()
            .any(|parameter| path.contains(parameter));
            if reaches && !matches!(statuses[1], 403 | 404) {
                wrong.push(format!("{id} answers a stranger with {}", statuses[1]));
            }
            if statuses.iter().any(|status| *status >= 500) {
                wrong.push(format!("{id} fails: {statuses:?}"));
            }
            let [nobody, stranger, member] = statuses[..] else {
                unreachable!()
            };
            table.push(format!("{id}: {nobody}, {stranger}, {member}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    table.sort();
    let table = format!(
        "# operation: nobody, stranger, plain member\n{}",
        table.concat()
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/access.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        golden == table,
        "rights have changed: look at the difference after UPDATE_GOLDEN=1 cargo test -p yardarm --test it access"
    );
}

async fn call(person: &Person, method: &Method, path: &str, body: Option<&Value>) -> u16 {
    person
        .request(method.clone(), path, body.cloned())
        .await
        .status
        .as_u16()
}
