//! How long an instance lives, by the rules of Spin 4.1: it answers at most 128 requests, 16 at
//! once, and is dropped after one second without any.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime::{Engine, Store as WasmStore, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState,
    WorkerStatus,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::key_value::KeyValue;
use crate::network::Network;
use crate::store::Store;
use crate::variables::Variables;

/// Requests an instance answers in its life.
const MAX_REQUESTS: usize = 128;
/// Requests an instance answers at the same time.
const MAX_AT_ONCE: usize = 16;
/// How long an instance waits for more.
const IDLE: Duration = Duration::from_secs(1);
/// How long a request may take; Spin has no bound, a test must end.
const REQUEST: Duration = Duration::from_mins(1);

/// An instance's data in wasmtime's store.
pub(crate) struct Data {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    network: Network,
    store: Arc<Store>,
    variables: Variables,
}

impl Data {
    /// What the key-value functions work on.
    pub(crate) fn key_value(&mut self) -> KeyValue<'_> {
        KeyValue {
            store: &self.store,
            table: &mut self.table,
        }
    }

    /// What the variable functions work on.
    pub(crate) fn variables(&mut self) -> &mut Variables {
        &mut self.variables
    }
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Data {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.network,
        }
    }
}

/// Makes instances.
pub(crate) struct Instances {
    pub(crate) engine: Engine,
    pub(crate) component: ProxyPre<Data>,
    pub(crate) store: Arc<Store>,
    pub(crate) variables: Arc<BTreeMap<String, String>>,
    pub(crate) network: Network,
}

impl HandlerState for Instances {
    type StoreData = Data;
    type WorkerExpiration = Expiration;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Data, Expiration, Reuse>> {
        let data = Data {
            table: ResourceTable::new(),
            // A Spin component's standard streams are Spin's.
            wasi: WasiCtx::builder().inherit_stdout().inherit_stderr().build(),
            http: WasiHttpCtx::new(),
            network: self.network.clone(),
            store: Arc::clone(&self.store),
            variables: Variables(Arc::clone(&self.variables)),
        };
        let mut store = WasmStore::new(&self.engine, data);
        let proxy: Proxy = self.component.instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy,
            view: Data::http,
            expiration: Expiration {
                sleep: Box::pin(tokio::time::sleep(IDLE)),
            },
            state: Reuse,
        })
    }
}

/// When an instance is dropped.
pub(crate) struct Expiration {
    sleep: Pin<Box<Sleep>>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        let patience = match status {
            WorkerStatus::Idle => IDLE,
            WorkerStatus::Requests | WorkerStatus::PostReturn => REQUEST,
        };
        let deadline = (start + patience).into();
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(cx)
    }
}

/// How many requests an instance takes.
pub(crate) struct Reuse;

impl WorkerState for Reuse {
    type StoreData = Data;
    type RequestData = ();

    fn should_accept_request(&self, at_once: usize, in_total: usize) -> ShouldAccept {
        if in_total >= MAX_REQUESTS {
            ShouldAccept::Never
        } else if at_once >= MAX_AT_ONCE {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Data>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        Box::pin(tokio::time::sleep(REQUEST))
    }

    fn drop(&self, _: WasmStore<Data>, result: Result<(), wasmtime::Error>) {
        if let Err(error) = result {
            eprintln!("instance failed: {error:?}");
        }
    }
}
