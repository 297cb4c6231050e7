//! The evaluation result, as Flagsmith's `sdk/evaluation-result.json` lays it down, and [`evaluate`].

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::coerce;
use super::context::{Context, Feature, IdentityContext};
use super::identity::{Identity, Trait, TraitValue};
use super::pattern::Patterns;
use super::plan::{self, Plan};
use super::session::{Choice, Session, Split, Subject};

/// What an evaluation context came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// One flag a feature, in the context's order.
    #[serde(serialize_with = "by_name")]
    pub flags: Vec<Flag>,
    /// The segments that match, in the context's order.
    pub segments: Vec<SegmentMatch>,
}

/// A feature as evaluated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flag {
    /// Name.
    pub name: String,
    /// On or off.
    pub enabled: bool,
    /// Value.
    pub value: Value,
    /// Why: `DEFAULT`, `TARGETING_MATCH; segment=<name>` or `SPLIT; weight=<weight>`.
    pub reason: String,
    /// The key of the variant chosen; `control` where none was; `None` where there was no choice, or
    /// the variant has no key.
    pub variant: Option<String>,
    /// As the context has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// A segment that matches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentMatch {
    /// Name.
    pub name: String,
    /// As the context has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

fn by_name<S: Serializer>(flags: &[Flag], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(flags.iter().map(|flag| (&flag.name, flag)))
}

/// The name a result gives to the control value of a state with variants.
pub(crate) const CONTROL: &str = "control";

/// Why a state applies before variants are looked at; `segment` is the one that made it so.
pub(crate) fn reason(segment: Option<&str>) -> String {
    segment.map_or_else(
        || "DEFAULT".to_owned(),
        |segment| format!("TARGETING_MATCH; segment={segment}"),
    )
}

/// Why a variant applies; `weight` as Python prints it.
pub(crate) fn split_reason(weight: &serde_json::Number) -> String {
    format!("SPLIT; weight={}", coerce::number_text(weight))
}

/// Evaluates a context: compiles it to a plan and asks that, the same way a snapshot is asked.
pub fn evaluate(context: &Context) -> Evaluation {
    let compiled = plan::compile(context, &mut Vec::new());
    let plan = Plan::open(&compiled);
    let patterns = Patterns::default();
    match &context.identity {
        None => answer(context, Session::new(plan, &patterns, None)),
        Some(given) => {
            let key = given.key.clone().filter(|key| !key.is_empty());
            let key =
                key.unwrap_or_else(|| format!("{}_{}", context.environment.key, given.identifier));
            let texts = traits_as_text(given);
            let traits = traits(given, &texts);
            let identity = Identity {
                identifier: &given.identifier,
                hash_key: Some(&key),
                traits: &traits,
            };
            let whole = IdentityContext {
                key: Some(key.clone()),
                ..given.clone()
            };
            let whole = serde_json::to_value(whole).unwrap_or_default();
            let subject = Subject {
                identity: &identity,
                key: &key,
                whole: Some(&whole),
            };
            answer(context, Session::new(plan, &patterns, Some(subject)))
        }
    }
}

fn answer(context: &Context, mut session: Session<'_>) -> Evaluation {
    let states: Vec<&Feature> = context
        .features
        .iter()
        .map(|(_, feature)| feature)
        .chain(
            context
                .segments
                .iter()
                .flat_map(|(_, segment)| &segment.overrides),
        )
        .collect();
    let mut flags = Vec::with_capacity(context.features.len());
    for number in (0..).take(context.features.len()) {
        let Some(choice) = session.choose(number) else {
            continue;
        };
        let split = session.split(choice.state);
        if let Some(state) = states.get(choice.state as usize) {
            flags.push(flag(context, state, choice, split));
        }
    }
    let segments = (0..)
        .zip(&context.segments)
        .filter(|(number, _)| session.is_in_segment(*number))
        .map(|(_, (_, segment))| SegmentMatch {
            name: segment.name.clone(),
            metadata: carried(segment.metadata.as_ref()),
        })
        .collect();
    Evaluation { flags, segments }
}

fn flag(context: &Context, state: &Feature, choice: Choice, split: Split) -> Flag {
    let segment = choice
        .segment
        .and_then(|number| context.segments.get(number as usize))
        .map(|(_, segment)| segment.name.as_str());
    let mut flag = Flag {
        name: state.name.clone(),
        enabled: state.enabled,
        value: state.value.clone(),
        reason: reason(segment),
        variant: None,
        metadata: carried(state.metadata.as_ref()),
    };
    match split {
        Split::None => {}
        Split::Control => flag.variant = Some(CONTROL.to_owned()),
        Split::Variant(number) => {
            if let Some(variant) = state.variants.get(number as usize) {
                flag.value = variant.value.clone();
                flag.reason = split_reason(&variant.weight);
                flag.variant.clone_from(&variant.key);
            }
        }
    }
    flag
}

/// Metadata goes through to the result unless there is nothing in it.
fn carried(metadata: Option<&Value>) -> Option<Value> {
    let is_empty = |value: &&Value| match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    metadata.filter(|value| !is_empty(value)).cloned()
}

/// Traits that only text can hold: lists and objects as Python prints them, and integers beyond 64
/// bits, which text is taken for again.
fn traits_as_text(identity: &IdentityContext) -> Map<String, Value> {
    let needs_text = |value: &Value| match value {
        Value::Array(_) | Value::Object(_) => true,
        Value::Number(number) => number.is_u64() && !number.is_i64(),
        _ => false,
    };
    identity
        .traits
        .iter()
        .filter(|(_, value)| needs_text(value))
        .map(|(key, value)| (key.clone(), coerce::python_text(value).into()))
        .collect()
}

fn traits<'a>(identity: &'a IdentityContext, texts: &'a Map<String, Value>) -> Vec<Trait<'a>> {
    identity
        .traits
        .iter()
        .filter_map(|(key, value)| {
            let value = match texts.get(key).unwrap_or(value) {
                Value::Bool(value) => TraitValue::Bool(*value),
                Value::String(text) => TraitValue::Text(text),
                Value::Number(number) => match number.as_i64() {
                    Some(integer) => TraitValue::Int(integer),
                    None => TraitValue::Float(number.as_f64()?),
                },
                _ => return None,
            };
            Some(Trait { key, value })
        })
        .collect()
}
