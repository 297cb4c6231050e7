//! The types of deliveries; the batch itself is core's.

use serde::Serialize;
use utoipa::ToSchema;
use yardarm_core::edge::delivery::Delivery;

use crate::intake::Taken;

/// A batch; described in full in docs/usage.md.
#[derive(ToSchema)]
#[schema(as = EdgeDeliveryRequest)]
#[expect(dead_code, reason = "core reads the body; this describes it")]
pub(crate) struct DeliveryIn {
    /// 128 random bits, lower-case hex: the same for every attempt.
    id: String,
    /// `worker`, `spin` or `native`.
    edge: String,
    identities: Vec<Object>,
    requests: Vec<Object>,
    evaluations: Vec<Object>,
    /// Counts that the edge had to forget.
    dropped: u64,
}

/// Any object.
#[derive(ToSchema)]
pub(crate) struct Object {}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EdgeDelivery)]
pub(crate) struct DeliveryOut {
    id: String,
    /// `applied`, or `already` when it was taken before.
    status: &'static str,
    /// How many of its rows could not be used.
    skipped: u64,
}

impl DeliveryOut {
    /// The answer about a batch.
    pub(crate) fn new(id: String, taken: Taken) -> Self {
        let Taken { already, skipped } = taken;
        Self {
            id,
            status: if already { "already" } else { "applied" },
            skipped,
        }
    }
}

/// What is wrong with a batch as such, if anything: it will never be taken.
pub(crate) fn objection(delivery: &Delivery) -> Option<(&'static str, &'static str)> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if delivery.id.len() != 32 || !delivery.id.bytes().all(hex) {
        return Some(("id", "Enter 32 lower-case hex digits."));
    }
    if delivery.edge.len() > 50 || delivery.edge.contains('\0') {
        return Some(("edge", "Ensure this field has no more than 50 characters."));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_an_id() {
        let delivery = |id: &str, edge: &str| Delivery {
            id: id.to_owned(),
            edge: edge.to_owned(),
            ..Delivery::default()
        };
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(objection(&delivery(id, "worker")), None);
        for wrong in ["", "0123", &id.to_uppercase(), &id.replace('0', "g")] {
            assert!(objection(&delivery(wrong, "worker")).is_some(), "{wrong}");
        }
        assert!(objection(&delivery(id, &"x".repeat(51))).is_some());
    }
}
