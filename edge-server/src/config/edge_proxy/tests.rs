//! Files and variables as people have them.

use super::*;

fn read(file: &str, variables: &[(&str, &str)]) -> anyhow::Result<EdgeProxy> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    EdgeProxy::read(Some(file), variables)
}

fn refused(file: &str, variables: &[(&str, &str)]) -> String {
    format!("{:#}", read(file, variables).unwrap_err())
}

#[test]
fn nothing_means_what_edge_proxy_means_by_it() {
    let settings = read("{}", &[]).unwrap();
    let expected = EdgeProxy {
        pairs: Vec::new(),
        api_url: "https://edge.api.flagsmith.com/api/v1".to_owned(),
        poll_frequency: Duration::from_secs(10),
        poll_timeout: Duration::from_secs(5),
        grace: Some(Duration::from_secs(30)),
        allow_origins: vec!["*".to_owned()],
        listen: "0.0.0.0:8000".to_owned(),
        log_level: Level::Info,
        log_json: false,
        access_log: false,
        warnings: Vec::new(),
    };
    assert_eq!(settings, expected);
}

#[test]
fn a_whole_file() {
    let file = r#"{
        "environment_key_pairs": [
            {"server_side_key": "ser.one", "client_side_key": "one"},
            {"server_side_key": " ser.two ", "client_side_key": "two"}
        ],
        "api_url": "http://flagsmith:8000/api/v1",
        "api_poll_frequency_seconds": 3,
        "api_poll_timeout_seconds": 2,
        "endpoint_caches": {"flags": {"use_cache": true, "cache_max_size": 5}},
        "logging": {"enable_access_log": true, "log_format": "json", "log_level": "WARNING", "colours": true,
                    "log_event_field_name": "event"},
        "server": {"host": "::", "port": 9000, "reload": false, "proxy_headers": true},
        "health_check": {"environment_update_grace_period_seconds": null},
        "allow_origins": ["https://a.example"],
        "stream": {}, "server_": 1
    }"#;
    let settings = read(file, &[]).unwrap();
    let clients: Vec<&str> = settings.pairs.iter().map(KeyPair::client).collect();
    assert_eq!(clients, ["one", "two"]);
    assert_eq!(settings.api_url, "http://flagsmith:8000/api/v1");
    assert_eq!(settings.poll_frequency.as_secs(), 3);
    assert_eq!(settings.poll_timeout.as_secs(), 2);
    assert_eq!(settings.grace, None);
    assert_eq!(settings.allow_origins, ["https://a.example"]);
    assert_eq!(settings.listen, "[::]:9000");
    assert_eq!(settings.log_level, Level::Warn);
    assert!(settings.log_json && settings.access_log);
    assert_eq!(
        settings.warnings,
        [
            "stream is not known and has no effect",
            "server_ is not known and has no effect",
            "logging.log_event_field_name has no effect here"
        ]
    );
}

#[test]
fn variables_win_part_by_part_and_other_names_count() {
    let file = r#"{"api_poll_frequency": 30, "server": {"host": "127.0.0.1", "port": 9000},
                   "environment_key_pairs": [{"server_side_key": "ser.f", "client_side_key": "f"}]}"#;
    let settings = read(
        file,
        &[
            ("SERVER", r#"{"port": "9001"}"#),
            ("Api_Poll_Timeout", "7"),
            (
                "environment_key_pairs",
                r#"[{"server_side_key": "ser.v", "client_side_key": "v"}]"#,
            ),
            (
                "HEALTH_CHECK",
                r#"{"environment_update_grace_period_seconds": 5, "x": 1}"#,
            ),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(settings.listen, "127.0.0.1:9001");
    assert_eq!(settings.poll_frequency.as_secs(), 30);
    assert_eq!(settings.poll_timeout.as_secs(), 7);
    assert_eq!(settings.pairs, [KeyPair::new("ser.v", "v").unwrap()]);
    assert_eq!(settings.grace, Some(Duration::from_secs(5)));
    assert_eq!(
        settings.warnings,
        ["health_check.x is not known and has no effect"]
    );
}

#[test]
fn what_cannot_be_meant_is_refused_without_telling_keys() {
    for (file, variables, told) in [
        ("[]", &[][..], "not a JSON object"),
        ("{", &[], "not JSON"),
        (r#"{"server": {"host": "localhost"}}"#, &[], "server.host"),
        (
            r#"{"server": {"port": 70000}}"#,
            &[],
            "server.port: 70000 is none",
        ),
        (
            r#"{"api_poll_frequency": "often"}"#,
            &[],
            "api_poll_frequency_seconds",
        ),
        (r#"{"api_poll_frequency": 0}"#, &[], "is zero"),
        (
            r#"{"logging": {"log_level": "LOUD"}}"#,
            &[],
            "logging.log_level",
        ),
        (r#"{"allow_origins": "*"}"#, &[], "allow_origins"),
        ("{}", &[("LOGGING", "DEBUG")], "LOGGING is not JSON"),
    ] {
        assert!(refused(file, variables).contains(told), "{file}");
    }
    let pairs = r#"[{"server_side_key": "sek.ret", "client_side_key": "a"}]"#;
    let text = refused(&format!(r#"{{"environment_key_pairs": {pairs}}}"#), &[]);
    assert!(
        text.contains("environment_key_pairs[0]") && !text.contains("ret"),
        "{text}"
    );
    let text = refused(
        "{}",
        &[("ENVIRONMENT_KEY_PAIRS", r#"[{"server_side_key": "ser.ret"#)],
    );
    assert!(
        text.contains("ENVIRONMENT_KEY_PAIRS is not JSON") && !text.contains("ser.ret"),
        "{text}"
    );
}
