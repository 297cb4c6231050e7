//! `spin:variables`: the variables given on the command line.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{Accessor, HasData};

use crate::key_value::bindings::spin::variables::variables as wit;

/// What an instance sees of the variables.
#[derive(Debug, Clone)]
pub(crate) struct Variables(pub(crate) Arc<BTreeMap<String, String>>);

impl HasData for Variables {
    type Data<'a> = &'a mut Variables;
}

impl wit::Host for Variables {}

impl<T> wit::HostWithStore<T> for Variables {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> Result<String, wit::Error> {
        accessor.with(|mut access| match access.get().0.get(&name) {
            Some(value) => Ok(value.clone()),
            None => Err(wit::Error::Undefined(format!("no variable {name:?}"))),
        })
    }
}
