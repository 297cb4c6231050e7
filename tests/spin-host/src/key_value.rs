//! `spin:key-value@3.0.0` and `wasi:keyvalue@0.2.0-draft2` (its store and its atomics) over
//! [`Store`], for the one store label `default`.

use std::sync::Arc;

use wasmtime::component::{
    Access, Accessor, FutureReader, HasData, Resource, ResourceTable, StreamReader,
};

use crate::store::Store;

pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        inline: r#"
            package yardarm:spin-host;

            world imports {
                import spin:key-value/key-value@3.0.0;
                import spin:variables/variables@3.0.0;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
            }

            package spin:key-value@3.0.0 {
                interface key-value {
                    resource store {
                        open: static async func(label: string) -> result<store, error>;
                        get: async func(key: string) -> result<option<list<u8>>, error>;
                        set: async func(key: string, value: list<u8>) -> result<_, error>;
                        delete: async func(key: string) -> result<_, error>;
                        exists: async func(key: string) -> result<bool, error>;
                        get-keys: async func() -> tuple<stream<string>, future<result<_, error>>>;
                    }
                    variant error { store-table-full, no-such-store, access-denied, other(string) }
                }
            }

            package spin:variables@3.0.0 {
                interface variables {
                    get: async func(name: string) -> result<string, error>;
                    variant error {
                        invalid-name(string), undefined(string), provider(string), other(string)
                    }
                }
            }

            package wasi:keyvalue@0.2.0-draft2 {
                interface store {
                    variant error { no-such-store, access-denied, other(string) }
                    record key-response { keys: list<string>, cursor: option<string> }
                    open: func(identifier: string) -> result<bucket, error>;
                    resource bucket {
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                        delete: func(key: string) -> result<_, error>;
                        exists: func(key: string) -> result<bool, error>;
                        list-keys: func(cursor: option<string>) -> result<key-response, error>;
                    }
                }
                interface atomics {
                    use store.{bucket, error};
                    variant cas-error { store-error(error), cas-failed(cas) }
                    resource cas {
                        new: static func(bucket: borrow<bucket>, key: string) -> result<cas, error>;
                        current: func() -> result<option<list<u8>>, error>;
                    }
                    increment: func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>;
                    swap: func(cas: cas, value: list<u8>) -> result<_, cas-error>;
                }
            }
        "#,
        world: "yardarm:spin-host/imports",
        imports: { "spin:key-value/key-value.[method]store.get-keys": store | trappable },
        with: {
            "spin:key-value/key-value.store": super::Open,
            "wasi:keyvalue/store.bucket": super::Open,
            "wasi:keyvalue/atomics.cas": super::Seen,
        },
    });
}

use bindings::spin::key_value::key_value as spin;
use bindings::wasi::keyvalue::{atomics, store};

/// The label every Spin application has.
const DEFAULT: &str = "default";

/// An open store; it has no state of its own.
#[derive(Debug, Clone, Copy)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Open;

/// A key looked at for a swap, with what was there. Before the first look nothing was.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Seen {
    key: String,
    value: Option<Vec<u8>>,
}

/// What an instance's store-data lends to the functions here.
pub(crate) struct KeyValue<'a> {
    pub(crate) store: &'a Arc<Store>,
    pub(crate) table: &'a mut ResourceTable,
}

/// Names [`KeyValue`] to wasmtime.
#[derive(Debug)]
pub(crate) struct KeyValueData;

impl HasData for KeyValueData {
    type Data<'a> = KeyValue<'a>;
}

impl spin::Host for KeyValue<'_> {}

impl spin::HostStore for KeyValue<'_> {
    fn drop(&mut self, open: Resource<Open>) -> wasmtime::Result<()> {
        self.table.delete(open)?;
        Ok(())
    }
}

fn with_store<T: Send, R>(
    accessor: &Accessor<T, KeyValueData>,
    call: impl FnOnce(&Store) -> Result<R, String>,
) -> Result<R, spin::Error> {
    // The clone ends the borrow of the instance's data before the store's lock is taken.
    let store = accessor.with(|mut access| Arc::clone(access.get().store));
    call(&store).map_err(spin::Error::Other)
}

impl<T: Send> spin::HostStoreWithStore<T> for KeyValueData {
    async fn open(
        accessor: &Accessor<T, Self>,
        label: String,
    ) -> Result<Resource<Open>, spin::Error> {
        if label != DEFAULT {
            return Err(spin::Error::AccessDenied);
        }
        accessor
            .with(|mut access| access.get().table.push(Open))
            .map_err(|_| spin::Error::StoreTableFull)
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        _open: Resource<Open>,
        key: String,
    ) -> Result<Option<Vec<u8>>, spin::Error> {
        with_store(accessor, |store| store.get(&key))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        _open: Resource<Open>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), spin::Error> {
        with_store(accessor, |store| store.set(&key, value))
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        _open: Resource<Open>,
        key: String,
    ) -> Result<(), spin::Error> {
        with_store(accessor, |store| store.delete(&key))
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        _open: Resource<Open>,
        key: String,
    ) -> Result<bool, spin::Error> {
        with_store(accessor, |store| Ok(store.get(&key)?.is_some()))
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        _open: Resource<Open>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), spin::Error>>)> {
        accessor.with(|mut access: Access<'_, T, Self>| {
            let keys = access.get().store.keys();
            let end = async { wasmtime::error::Ok(Ok(())) };
            Ok((
                StreamReader::new(&mut access, keys)?,
                FutureReader::new(&mut access, end)?,
            ))
        })
    }
}

impl store::Host for KeyValue<'_> {
    fn open(&mut self, identifier: String) -> Result<Resource<Open>, store::Error> {
        if identifier != DEFAULT {
            return Err(store::Error::AccessDenied);
        }
        self.table
            .push(Open)
            .map_err(|error| store::Error::Other(error.to_string()))
    }
}

impl store::HostBucket for KeyValue<'_> {
    fn get(
        &mut self,
        _bucket: Resource<Open>,
        key: String,
    ) -> Result<Option<Vec<u8>>, store::Error> {
        self.store.get(&key).map_err(store::Error::Other)
    }

    fn set(
        &mut self,
        _bucket: Resource<Open>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), store::Error> {
        self.store.set(&key, value).map_err(store::Error::Other)
    }

    fn delete(&mut self, _bucket: Resource<Open>, key: String) -> Result<(), store::Error> {
        self.store.delete(&key).map_err(store::Error::Other)
    }

    fn exists(&mut self, _bucket: Resource<Open>, key: String) -> Result<bool, store::Error> {
        Ok(self.store.get(&key).map_err(store::Error::Other)?.is_some())
    }

    fn list_keys(
        &mut self,
        _bucket: Resource<Open>,
        cursor: Option<String>,
    ) -> Result<store::KeyResponse, store::Error> {
        match cursor {
            Some(_) => Err(store::Error::Other(
                "no cursors here, as on Spin".to_owned(),
            )),
            None => Ok(store::KeyResponse {
                keys: self.store.keys(),
                cursor: None,
            }),
        }
    }

    fn drop(&mut self, bucket: Resource<Open>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl KeyValue<'_> {
    fn seen(&mut self, seen: &Resource<Seen>) -> Result<&mut Seen, store::Error> {
        self.table
            .get_mut(seen)
            .map_err(|error| store::Error::Other(error.to_string()))
    }

    fn look(
        &mut self,
        key: String,
        value: Option<Vec<u8>>,
    ) -> Result<Resource<Seen>, store::Error> {
        self.table
            .push(Seen { key, value })
            .map_err(|error| store::Error::Other(error.to_string()))
    }
}

impl atomics::Host for KeyValue<'_> {
    fn increment(
        &mut self,
        _bucket: Resource<Open>,
        key: String,
        delta: i64,
    ) -> Result<i64, store::Error> {
        self.store
            .increment(&key, delta)
            .map_err(store::Error::Other)
    }

    fn swap(&mut self, cas: Resource<Seen>, value: Vec<u8>) -> Result<(), atomics::CasError> {
        let Seen { key, value: seen } = self.table.delete(cas).map_err(|error| {
            atomics::CasError::StoreError(store::Error::Other(error.to_string()))
        })?;
        let other = |text| atomics::CasError::StoreError(store::Error::Other(text));
        if self
            .store
            .swap(&key, seen.as_deref(), value)
            .map_err(other)?
        {
            return Ok(());
        }
        let now = self.store.get(&key).map_err(other)?;
        Err(match self.look(key, now) {
            Ok(seen) => atomics::CasError::CasFailed(seen),
            Err(error) => atomics::CasError::StoreError(error),
        })
    }
}

impl atomics::HostCas for KeyValue<'_> {
    fn new(
        &mut self,
        _bucket: Resource<Open>,
        key: String,
    ) -> Result<Resource<Seen>, store::Error> {
        self.look(key, None)
    }

    fn current(&mut self, cas: Resource<Seen>) -> Result<Option<Vec<u8>>, store::Error> {
        let key = self.seen(&cas)?.key.clone();
        let value = self.store.get(&key).map_err(store::Error::Other)?;
        self.seen(&cas)?.value.clone_from(&value);
        Ok(value)
    }

    fn drop(&mut self, cas: Resource<Seen>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
