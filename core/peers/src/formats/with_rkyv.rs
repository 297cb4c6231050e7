//! The model in rkyv. Without `unsafe`, every opening checks all bytes.

use rkyv::rancor::Error;
use rkyv::{Archive, Serialize};

use super::model::{END, HEAD, Model};

#[derive(Archive, Serialize)]
struct Main {
    environment_key: String,
    version: u64,
    body: Vec<u8>,
    flags: Vec<Flag>,
    rules: Vec<Rule>,
}

#[derive(Archive, Serialize)]
struct Flag {
    at: u32,
    len: u32,
    feature_at: u32,
    feature_len: u32,
    enabled: bool,
}

#[derive(Archive, Serialize)]
struct Rule {
    operator: u8,
    property: String,
    value: String,
    int: i64,
    float: f64,
    on_true: u32,
    on_false: u32,
}

#[derive(Archive, Serialize)]
struct Bucket {
    /// Sorted by identifier.
    identities: Vec<Identity>,
}

#[derive(Archive, Serialize)]
struct Identity {
    identifier: String,
    overrides: Vec<Override>,
}

#[derive(Archive, Serialize)]
struct Override {
    feature: u32,
    tail: Vec<u8>,
}

pub(super) fn encode(model: &Model) -> (Vec<u8>, Vec<Vec<u8>>) {
    let main = Main {
        environment_key: model.environment_key.clone(),
        version: model.version,
        body: model.body.clone(),
        flags: model
            .flags
            .iter()
            .map(|flag| Flag {
                at: flag.at,
                len: flag.len,
                feature_at: flag.feature_at,
                feature_len: flag.feature_len,
                enabled: flag.enabled,
            })
            .collect(),
        rules: model
            .rules
            .iter()
            .map(|rule| Rule {
                operator: rule.operator,
                property: rule.property.clone(),
                value: rule.value.clone(),
                int: rule.int,
                float: rule.float,
                on_true: rule.on_true,
                on_false: rule.on_false,
            })
            .collect(),
    };
    let bucket = |identities: &Vec<(String, Vec<super::model::Override>)>| Bucket {
        identities: identities
            .iter()
            .map(|(identifier, overrides)| Identity {
                identifier: identifier.clone(),
                overrides: overrides
                    .iter()
                    .map(|of| Override {
                        feature: of.feature,
                        tail: of.tail.clone(),
                    })
                    .collect(),
            })
            .collect(),
    };
    let buckets = model.buckets.iter().map(bucket);
    (
        rkyv::to_bytes::<Error>(&main).expect("serialises").to_vec(),
        buckets
            .map(|b| rkyv::to_bytes::<Error>(&b).expect("serialises").to_vec())
            .collect(),
    )
}

pub(super) fn answer(main: &[u8], bucket: Option<&[u8]>, asker: &str, out: &mut Vec<u8>) {
    let main = rkyv::access::<ArchivedMain, Error>(main).expect("whole");
    let bucket = bucket.map(|bytes| rkyv::access::<ArchivedBucket, Error>(bytes).expect("whole"));
    let overrides = bucket.and_then(|bucket| {
        let identities = &bucket.identities;
        let found = identities.binary_search_by(|identity| identity.identifier.as_str().cmp(asker));
        found.ok().map(|at| &identities[at].overrides)
    });
    let mut overrides = overrides.map(|of| of.as_slice()).unwrap_or_default();
    let body = main.body.as_slice();
    let range = |at: u32, len: u32| &body[at as usize..at as usize + len as usize];
    out.reserve(body.len() + main.flags.len() * 24);
    out.push(b'[');
    for (number, flag) in (0_u32..).zip(main.flags.iter()) {
        if number > 0 {
            out.push(b',');
        }
        match overrides.split_first() {
            Some((first, rest)) if first.feature == number => {
                overrides = rest;
                out.extend_from_slice(HEAD);
                out.extend_from_slice(range(flag.feature_at.into(), flag.feature_len.into()));
                out.extend_from_slice(&first.tail);
            }
            _ => {
                out.extend_from_slice(range(flag.at.into(), u32::from(flag.len) - 1));
                out.extend_from_slice(END);
            }
        }
    }
    out.push(b']');
}
