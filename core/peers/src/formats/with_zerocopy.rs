//! The model as zerocopy records: typed rows, with offsets into a text area kept by hand.

use zerocopy::little_endian::{F64, I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::model::{END, HEAD, Model};

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Span {
    at: U32,
    len: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    version: U64,
    environment_key: Span,
    body: Span,
    flags: Span,
    rules: Span,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Flag {
    flag: Span,
    feature: Span,
    enabled: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Rule {
    operator: U32,
    property: Span,
    value: Span,
    int: I64,
    float: F64,
    on_true: U32,
    on_false: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BucketHeader {
    identities: Span,
    overrides: Span,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Identity {
    identifier: Span,
    /// Numbers of overrides.
    overrides: Span,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Override {
    feature: U32,
    tail: Span,
}

impl Span {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let (at, len) = (self.at.get() as usize, self.len.get() as usize);
        at.checked_add(len)
            .and_then(|end| bytes.get(at..end))
            .unwrap_or_default()
    }

    fn rows<'a, T: FromBytes + Immutable + KnownLayout + Unaligned>(
        &self,
        bytes: &'a [u8],
    ) -> &'a [T] {
        <[T]>::ref_from_bytes(self.of(bytes)).unwrap_or_default()
    }
}

fn append(out: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let number = |length: usize| U32::new(u32::try_from(length).expect("small"));
    let at = number(out.len());
    out.extend_from_slice(bytes);
    Span {
        at,
        len: number(bytes.len()),
    }
}

pub(super) fn encode(model: &Model) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut out = vec![0; size_of::<Header>()];
    let environment_key = append(&mut out, model.environment_key.as_bytes());
    let body = append(&mut out, &model.body);
    let within = |at: u32, len: u32| Span {
        at: U32::new(body.at.get() + at),
        len: U32::new(len),
    };
    let flags: Vec<Flag> = model
        .flags
        .iter()
        .map(|flag| Flag {
            flag: within(flag.at, flag.len),
            feature: within(flag.feature_at, flag.feature_len),
            enabled: U32::new(u32::from(flag.enabled)),
        })
        .collect();
    let rules: Vec<Rule> = model
        .rules
        .iter()
        .map(|rule| Rule {
            operator: U32::new(u32::from(rule.operator)),
            property: append(&mut out, rule.property.as_bytes()),
            value: append(&mut out, rule.value.as_bytes()),
            int: I64::new(rule.int),
            float: F64::new(rule.float),
            on_true: U32::new(rule.on_true),
            on_false: U32::new(rule.on_false),
        })
        .collect();
    let header = Header {
        version: U64::new(model.version),
        environment_key,
        body,
        flags: append(&mut out, flags.as_bytes()),
        rules: append(&mut out, rules.as_bytes()),
    };
    out[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    (
        out,
        model
            .buckets
            .iter()
            .map(|bucket| encode_bucket(bucket))
            .collect(),
    )
}

fn encode_bucket(bucket: &[(String, Vec<super::model::Override>)]) -> Vec<u8> {
    let mut out = vec![0; size_of::<BucketHeader>()];
    let (mut identities, mut rows): (Vec<Identity>, Vec<Override>) = (Vec::new(), Vec::new());
    for (identifier, overrides) in bucket {
        let number = |length: usize| U32::new(u32::try_from(length).expect("small"));
        identities.push(Identity {
            identifier: append(&mut out, identifier.as_bytes()),
            overrides: Span {
                at: number(rows.len()),
                len: number(overrides.len()),
            },
        });
        for of in overrides {
            rows.push(Override {
                feature: U32::new(of.feature),
                tail: append(&mut out, &of.tail),
            });
        }
    }
    let header = BucketHeader {
        identities: append(&mut out, identities.as_bytes()),
        overrides: append(&mut out, rows.as_bytes()),
    };
    out[..size_of::<BucketHeader>()].copy_from_slice(header.as_bytes());
    out
}

pub(super) fn answer(main: &[u8], bucket: Option<&[u8]>, asker: &str, out: &mut Vec<u8>) {
    let (header, _) = Header::ref_from_prefix(main).expect("whole");
    let mut overrides: &[Override] = bucket
        .and_then(|bytes| {
            let (header, _) = BucketHeader::ref_from_prefix(bytes).ok()?;
            let identities: &[Identity] = header.identities.rows(bytes);
            let found = identities
                .binary_search_by(|identity| identity.identifier.of(bytes).cmp(asker.as_bytes()))
                .ok()?;
            let range = identities[found].overrides;
            let rows: &[Override] = header.overrides.rows(bytes);
            let at = range.at.get() as usize;
            rows.get(at..at + range.len.get() as usize)
        })
        .unwrap_or_default();
    let flags: &[Flag] = header.flags.rows(main);
    out.reserve(header.body.len.get() as usize + flags.len() * 24);
    out.push(b'[');
    for (number, flag) in (0_u32..).zip(flags) {
        if number > 0 {
            out.push(b',');
        }
        match overrides.split_first() {
            Some((first, rest)) if first.feature.get() == number => {
                overrides = rest;
                out.extend_from_slice(HEAD);
                out.extend_from_slice(flag.feature.of(main));
                out.extend_from_slice(first.tail.of(bucket.unwrap_or_default()));
            }
            _ => {
                let flag = flag.flag.of(main);
                out.extend_from_slice(flag.split_last().map_or(&[], |(_, flag)| flag));
                out.extend_from_slice(END);
            }
        }
    }
    out.push(b']');
}
