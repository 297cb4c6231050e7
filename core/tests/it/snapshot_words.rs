//! What compiling and inspecting tell people.

use serde_json::json;
use yardarm_core::snapshot::{Package, ServerKey, compile, inspect};

use crate::snapshot_answers::{document, publication};

#[test]
fn odd_data_is_told_of() {
    let mut odd = document();
    let condition = |operator: &str, value: &str| json!({"operator": operator, "value": value, "property_": "x"});
    odd["project"]["segments"][0]["rules"] = json!([{"type": "ANY", "conditions": [
        condition("REGEX", "("), condition("MODULO", "0|0"), condition("MODULO", "x"),
        condition("PERCENTAGE_SPLIT", "x"), condition("LIKE", "x"),
        {"operator": "EQUAL", "value": "x", "property_": null},
    ], "rules": [{"type": "SOME", "rules": [], "conditions": [condition("IS_SET", "")]}]}]);
    odd["identity_overrides"][0]["identity_features"][0]["feature"]["name"] = json!("gone");
    let mut publication = publication(&odd, false);
    publication.server_keys = vec![ServerKey {
        sha256: "no hash".to_owned(),
        active: true,
        expires_at_micros: None,
    }];
    let (_, warnings) = compile(&publication);
    let all = warnings.join("\n");
    for told in [
        r#"identity "vip" overrides unknown feature "gone""#,
        "server-side key's hash is no SHA-256",
        r#""(" cannot be read as a pattern"#,
        "MODULO by zero",
        r#""x" cannot be read as `divisor|remainder`"#,
        r#""x" cannot be read as a percentage"#,
        r#"operator "LIKE" is unknown"#,
        "EQUAL without a property",
        r#"quantifier "SOME" is unknown"#,
    ] {
        assert!(all.contains(told), "{told} in\n{all}");
    }
}

#[test]
fn what_a_package_holds_in_words() {
    let mut publication = publication(&document(), true);
    publication.server_keys = vec![ServerKey {
        sha256: "ab".repeat(32),
        active: false,
        expires_at_micros: Some(0),
    }];
    let text = inspect(&compile(&publication).0);
    for line in [
        "environment   key\n",
        "version       3\n",
        "changed       Wed, 12 Jul 2023 14:26:43 GMT\n",
        "  abababababab…  revoked, expires Thu, 01 Jan 1970 00:00:00 GMT\n",
        "o / p / Production\n",
        "  Plain (standard): on, \"d\u{e9}fault\"\n",
        "  many (multivariate): on, \"control value\" | 50% \"second\" | 50% \"first\" (one)\n",
        "  secret (standard, server keys only): on, true\n",
        "      any of\n        age greater than \"17\"\n",
        "    overrides Plain (priority 0): off, \"of the segment\"\n",
        "identities    1 with 2 overrides in the document\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let gone = inspect(&Package::tombstone("key", 8, 5));
    assert!(gone.contains("tombstone"));
}
