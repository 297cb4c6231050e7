//! Organisations and their members.

use serde_json::json;

use crate::app::TestApp;

const ORGANISATIONS: &str = "/api/v1/organisations/";

#[tokio::test]
async fn an_organisation_from_cradle_to_grave() {
    let t = TestApp::start().await;
    let ann = t.person("ann").await;
    let made = ann
        .post(ORGANISATIONS, json!({"name": "Acme"}))
        .await
        .expect(201);
    assert_eq!(made["role"], json!(null));
    assert_eq!(made["created_date"], crate::app::START);
    let path = format!("{ORGANISATIONS}{}/", made["id"]);

    let found = ann.get(&path).await.expect(200);
    assert_eq!(
        (&found["role"], &found["num_seats"]),
        (&json!("ADMIN"), &json!(1))
    );
    let by_uuid = format!(
        "{ORGANISATIONS}get-by-uuid/{}/",
        found["uuid"].as_str().unwrap()
    );
    assert_eq!(ann.get(&by_uuid).await.expect(200), found);
    let list = ann.get(ORGANISATIONS).await.expect(200);
    assert_eq!(
        list,
        json!({"count": 1, "next": null, "previous": null, "results": [found]})
    );

    let change =
        json!({"webhook_notification_email": "ops@example.com", "persist_trait_data": false});
    let changed = ann.patch(&path, change).await.expect(200);
    assert_eq!(changed["webhook_notification_email"], "ops@example.com");
    assert_eq!(changed["persist_trait_data"], true, "read-only");
    ann.put(&path, json!({})).await.expect(400);
    assert_eq!(
        ann.get(&format!("{path}get-subscription-metadata/"))
            .await
            .expect(200)["max_projects"],
        json!(null)
    );
    ann.get(&format!("{path}usage/")).await.expect(200);
    ann.post(
        "/api/v1/projects/",
        json!({"name": "Main", "organisation": made["id"]}),
    )
    .await
    .expect(201);
    let projects = ann.get(&format!("{path}projects/")).await.expect(200);
    assert_eq!(projects[0]["name"], "Main");

    ann.delete(&path).await.expect(204);
    ann.get(&path).await.expect(403);
    assert_eq!(
        t.audit().await.last().unwrap(),
        "Organisation deleted: Acme"
    );
}

#[tokio::test]
async fn who_it_is_refused_to_and_how() {
    let t = TestApp::start().await;
    let (ann, bob, eve) = (
        t.person("ann").await,
        t.person("bob").await,
        t.person("eve").await,
    );
    let acme = t.organisation("Acme", &ann).await;
    t.join(acme, &bob, "USER").await;
    let path = format!("{ORGANISATIONS}{acme}/");
    for person in [&bob, &eve] {
        person.get(&path).await.expect(403);
        person.patch(&path, json!({"name": "no"})).await.expect(403);
        person.delete(&path).await.expect(403);
    }
    assert_eq!(
        bob.get(&format!("{path}my-permissions/")).await.expect(200),
        json!({"permissions": [], "admin": false, "tag_based_permissions": []})
    );
    assert_eq!(
        ann.get(&format!("{ORGANISATIONS}abc/")).await.expect(400),
        json!(["Invalid organisation ID"])
    );
    ann.get(&format!("{ORGANISATIONS}999999/"))
        .await
        .expect(403);
    let unknown = format!("{ORGANISATIONS}get-by-uuid/00000000-0000-0000-0000-000000000000/");
    assert_eq!(
        ann.get(&unknown).await.expect(404),
        json!({"detail": "No Organisation matches the given query."})
    );
    assert_eq!(
        ann.get(&format!("{ORGANISATIONS}?page=2"))
            .await
            .expect(404),
        json!({"detail": "Invalid page."})
    );
}

#[tokio::test]
async fn members() {
    let t = TestApp::start().await;
    let (ann, bob) = (t.person("ann").await, t.person("bob").await);
    let acme = t.organisation("Acme", &ann).await;
    t.join(acme, &bob, "USER").await;
    let path = format!("{ORGANISATIONS}{acme}/");
    let members = ann
        .get(&format!("{path}users/?exclude_current=true"))
        .await
        .expect(200);
    assert_eq!(members[0]["email"], bob.email.as_str());
    assert_eq!(members.as_array().unwrap().len(), 1);
    let role = format!("{path}users/{}/update-role/", bob.id);
    assert_eq!(
        ann.post(&role, json!({"role": "ADMIN"})).await.expect(200)["role"],
        "ADMIN"
    );
    assert_eq!(
        ann.post(&role, json!({"role": "X"})).await.expect(400),
        json!({"role": ["\"X\" is not a valid choice."]})
    );
    bob.get(&path).await.expect(200);
    let detailed = format!("{path}user-detailed-permissions/{}/", bob.id);
    assert_eq!(bob.get(&detailed).await.expect(200)["admin"], true);

    let remove = format!("{path}remove-users/");
    ann.post(&remove, json!({"id": bob.id})).await.expect(400);
    assert_eq!(
        ann.post(&remove, json!([{"id": bob.id}])).await.expect(200),
        json!([{"id": bob.id}])
    );
    bob.get(&path).await.expect(403);
    ann.post(&role, json!({"role": "USER"})).await.expect(404);
    assert_eq!(
        t.audit().await,
        [
            "Role of bob@example.com changed to ADMIN",
            "User removed from the organisation"
        ]
    );
}
