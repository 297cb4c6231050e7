//! Accounts, sessions and the first administrator.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

const PASSWORD: &str = "Sup3r-s3cret-pw!";
const LOGIN: &str = "/api/v1/auth/login/";
const USERS: &str = "/api/v1/auth/users/";
const ME: &str = "/api/v1/auth/users/me/";

fn somebody(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "first_name": "Ann", "last_name": "Test"})
}

/// Signs up over HTTP.
async fn sign_up(t: &TestApp, email: &str) -> Person {
    let made = t.nobody().post(USERS, somebody(email)).await.expect(201);
    let key = made["key"].as_str().unwrap().to_owned();
    Person {
        token: Some(key),
        ..t.nobody()
    }
}

async fn log_in(t: &TestApp, email: &str, password: &str) -> crate::app::Reply {
    t.nobody()
        .post(LOGIN, json!({"email": email, "password": password}))
        .await
}

fn refused() -> Value {
    json!({"non_field_errors": ["Unable to log in with provided credentials."]})
}

#[tokio::test]
async fn signing_up_logging_in_and_out() {
    let t = TestApp::start().await;
    let made = t
        .nobody()
        .post(USERS, somebody("Ann@Example.com"))
        .await
        .expect(201);
    assert_eq!(made["email"], "ann@example.com");
    assert_eq!(made["marketing_consent_given"], true);
    assert_eq!(made["key"].as_str().unwrap().len(), 40);

    let key = log_in(&t, " ANN@example.com", PASSWORD).await.expect(200)["key"].clone();
    assert_ne!(key, made["key"], "each session has a token of its own");
    let ann = Person {
        token: Some(key.as_str().unwrap().to_owned()),
        ..t.nobody()
    };
    let me = ann.get(ME).await.expect(200);
    assert_eq!(me["date_joined"], crate::app::START);
    assert_eq!(me["is_superuser"], false);
    assert_eq!(me["auth_type"], "EMAIL");

    let kept = t
        .sql()
        .await
        .query("select sha256 from auth_token", &[])
        .await
        .unwrap();
    let kept: Vec<Vec<u8>> = kept.iter().map(|row| row.get(0)).collect();
    assert!(
        kept.iter()
            .all(|hash| hash.len() == 32 && !hash.starts_with(b"0")),
        "only hashes"
    );

    ann.post("/api/v1/auth/logout/", json!({}))
        .await
        .expect(204);
    assert_eq!(
        ann.get(ME).await.expect(401),
        json!({"detail": "Invalid token."})
    );
    let other = Person {
        token: Some(made["key"].as_str().unwrap().to_owned()),
        ..t.nobody()
    };
    other.delete("/api/v1/auth/token/").await.expect(204);
    other.get(ME).await.expect(401);
}

#[tokio::test]
async fn what_is_wrong_with_a_sign_up_is_told_in_flagsmiths_words() {
    let t = TestApp::start().await;
    let required = "This field is required.";
    assert_eq!(
        t.nobody().post(USERS, json!({})).await.expect(400),
        json!({"first_name": [required], "last_name": [required], "email": [required], "password": [required]})
    );
    let weak = json!({"email": "alexander@example.com", "password": "alexander1", "first_name": "A", "last_name": "B"});
    assert_eq!(
        t.nobody().post(USERS, weak).await.expect(400),
        json!({"password": ["The password is too similar to the email.", "This password is too common."]})
    );
    sign_up(&t, "ann@example.com").await;
    assert_eq!(
        t.nobody()
            .post(USERS, somebody("ANN@example.com"))
            .await
            .expect(400),
        json!({"email": ["Email already exists. Please log in."]})
    );
    let mut superuser = somebody("eve@example.com");
    superuser["superuser"] = json!(true);
    let message = "A superuser can only be created through this  endpoint if no other users exist.";
    assert_eq!(
        t.nobody().post(USERS, superuser).await.expect(400),
        json!({"superuser": [message]})
    );
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let t = TestApp::start().await;
    let send = async |kind: &str, body: &'static str| {
        let request = http::Request::post(USERS)
            .header("content-type", kind)
            .body(axum::body::Body::from(body))
            .unwrap();
        t.send(request).await
    };
    assert_eq!(
        send("application/json", "{nope").await.expect(400),
        json!({"detail": "JSON parse error - Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"})
    );
    assert_eq!(
        send("application/xml", "<a/>").await.expect(415),
        json!({"detail": "Unsupported media type \"application/xml\" in request."})
    );
    let form = send(
        "application/x-www-form-urlencoded",
        "email=nope&first_name=%C3%A9",
    )
    .await;
    assert_eq!(
        form.expect(400)["email"],
        json!(["Enter a valid email address."])
    );
    assert_eq!(form.json().get("first_name"), None);
}

#[tokio::test]
async fn ten_wrong_passwords_lock_an_address_for_a_quarter_of_an_hour() {
    let t = TestApp::start().await;
    sign_up(&t, "ann@example.com").await;
    for _ in 0..10 {
        assert_eq!(
            log_in(&t, "ann@example.com", "wrong").await.expect(400),
            refused()
        );
    }
    assert_eq!(
        log_in(&t, "ann@example.com", PASSWORD).await.expect(400),
        refused()
    );
    t.clock.advance(TimeDelta::minutes(15));
    log_in(&t, "ann@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_client_may_try_twenty_times_a_minute() {
    let t = TestApp::start().await;
    for _ in 0..20 {
        t.nobody().post(LOGIN, json!({})).await.expect(400);
    }
    let throttled = t.nobody().post(LOGIN, json!({})).await;
    assert_eq!(
        throttled.expect(429),
        json!({"detail": "Request was throttled. Expected available in 60 seconds."})
    );
    assert_eq!(throttled.header("retry-after"), "60");
}

#[tokio::test]
async fn changing_and_deleting_ones_account() {
    let t = TestApp::start().await;
    let ann = sign_up(&t, "ann@example.com").await;
    let other = log_in(&t, "ann@example.com", PASSWORD).await.expect(200);
    let other = Person {
        token: other["key"].as_str().map(ToOwned::to_owned),
        ..t.nobody()
    };
    sign_up(&t, "bob@example.com").await;

    let changed = ann
        .patch(ME, json!({"first_name": "Addy", "email": "x@example.com"}))
        .await;
    assert_eq!(changed.expect(200)["first_name"], "Addy");
    assert_eq!(changed.json()["email"], "ann@example.com");
    ann.put(ME, json!({})).await.expect(400);
    let onboarding = json!({"tasks": [{"name": "task-1"}], "tools": {"integrations": ["slack"]}});
    ann.patch("/api/v1/auth/users/me/onboarding/", onboarding)
        .await
        .expect(204);
    assert_eq!(
        ann.get(ME).await.expect(200)["onboarding"]["tools"],
        json!({"completed": true, "integrations": ["slack"]})
    );

    let password = "/api/v1/auth/users/set_password/";
    let ask = |new: &str, again: &str, current: &str| json!({"new_password": new, "re_new_password": again, "current_password": current});
    let wrong = ann
        .post(password, ask("N3w-passw0rd!", "N3w-passw0rd!", "bad"))
        .await
        .expect(400);
    assert_eq!(wrong, json!({"current_password": ["Invalid password."]}));
    let differs = ann
        .post(password, ask("N3w-passw0rd!", "other", PASSWORD))
        .await
        .expect(400);
    assert_eq!(
        differs,
        json!({"non_field_errors": ["The two password fields didn't match."]})
    );
    ann.post(password, ask("N3w-passw0rd!", "N3w-passw0rd!", PASSWORD))
        .await
        .expect(204);
    other.get(ME).await.expect(401);
    ann.get(ME).await.expect(200);

    let email = "/api/v1/auth/users/set_email/";
    let taken = json!({"new_email": "Bob@example.com", "current_password": "N3w-passw0rd!"});
    ann.post(email, taken).await.expect(400);
    let free = json!({"new_email": "ann2@example.com", "current_password": "N3w-passw0rd!"});
    ann.post(email, free).await.expect(204);
    log_in(&t, "ann2@example.com", "N3w-passw0rd!")
        .await
        .expect(200);
    let reset = "/api/v1/auth/users/reset_password/";
    t.nobody()
        .post(reset, json!({"email": "nobody@example.com"}))
        .await
        .expect(204);
    t.nobody()
        .post(reset, json!({"email": "nope"}))
        .await
        .expect(400);

    ann.post("/api/v1/organisations/", json!({"name": "Mine"}))
        .await
        .expect(201);
    ann.request(
        http::Method::DELETE,
        ME,
        Some(json!({"current_password": "bad"})),
    )
    .await
    .expect(400);
    let goodbye = json!({"current_password": "N3w-passw0rd!", "delete_orphan_organisations": true});
    ann.request(http::Method::DELETE, ME, Some(goodbye))
        .await
        .expect(204);
    assert_eq!(
        log_in(&t, "ann2@example.com", "N3w-passw0rd!")
            .await
            .expect(400),
        refused()
    );
    let left = t
        .sql()
        .await
        .query("select from organisation", &[])
        .await
        .unwrap();
    assert!(left.is_empty());
}

#[tokio::test]
async fn the_first_administrator() {
    let t = TestApp::start().await;
    let init = "/api/v1/users/config/init/";
    let page = t.nobody().get(init).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<form method=\"post\">"));
    let weak = json!({"email": "root@example.com", "password": "12345678"});
    t.nobody().post(init, weak).await.expect(400);
    let made = json!({"email": "root@example.com", "password": PASSWORD});
    let key = t.nobody().post(init, made.clone()).await.expect(201)["key"].clone();
    let root = Person {
        token: key.as_str().map(ToOwned::to_owned),
        ..t.nobody()
    };
    assert_eq!(root.get(ME).await.expect(200)["is_superuser"], true);

    let refused = json!({
        "adminUserCreated": false,
        "message": "FAILED TO INIT ADMIN USER. USER(S) ALREADY EXIST IN SYSTEM.",
    });
    assert_eq!(t.nobody().post(init, made).await.expect(400), refused);
    assert_eq!(t.nobody().get(init).await.expect(400), refused);
    assert_eq!(
        t.nobody().get("/api/v1/users/init/").await.expect(400),
        refused
    );
}
