//! Compiles a component (or takes compiled code kept from last time) and links what it imports.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};
use wasmtime::error::Context as _;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi_http::handler::{ProxyHandler, ProxyPre};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::instances::{Data, Instances};
use crate::key_value::KeyValueData;
use crate::key_value::bindings::spin::key_value::key_value as spin_key_value;
use crate::key_value::bindings::spin::variables::variables as spin_variables;
use crate::key_value::bindings::wasi::keyvalue as wasi_keyvalue;
use crate::network::Network;
use crate::store::Store;
use crate::variables::Variables;

/// Stands for any resource of an interface that is not here.
struct Missing;

/// A compiled component.
pub(crate) struct Loaded {
    engine: Engine,
    component: Component,
}

/// Compiles the component in `path`. Compiled code is kept in `cache` (or beside the component),
/// named by what it was compiled from and for, and taken from there the next time.
pub(crate) fn load(path: &Path, cache: Option<&Path>) -> wasmtime::Result<Loaded> {
    let bytes = std::fs::read(path).with_context(|| format!("component {}", path.display()))?;
    let engine = engine()?;
    let folder = cache.or_else(|| path.parent()).unwrap_or(Path::new("."));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let kept = folder.join(format!("{stem}.{}.cwasm", fingerprint(&bytes, &engine)));
    if !kept.exists() {
        let code = engine.precompile_component(&bytes)?;
        remove_kept(folder, &stem)?;
        let fresh = kept.with_extension(format!("{}.new", std::process::id()));
        std::fs::write(&fresh, &code)?;
        std::fs::rename(&fresh, &kept)?;
    }
    // SAFETY: `Engine::precompile_component` wrote the file, and its name says that it was for this
    // component, this version of wasmtime and this configuration.
    #[expect(unsafe_code, reason = "compiled code can only be loaded on trust")]
    let component = unsafe { Component::deserialize_file(&engine, &kept)? };
    Ok(Loaded { engine, component })
}

fn fingerprint(bytes: &[u8], engine: &Engine) -> String {
    let mut compatible = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatible);
    let content = hex::encode(&Sha256::digest(bytes)[..8]);
    format!("{content}-{:016x}", compatible.finish())
}

/// Compiled code of former builds of the same component.
fn remove_kept(folder: &Path, stem: &str) -> wasmtime::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&format!("{stem}.")) && name.ends_with(".cwasm") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn engine() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(1_000);
    pool.total_memories(1_000);
    pool.total_tables(2_000);
    pool.total_core_instances(2_000);
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

impl Loaded {
    /// Links the component to the host.
    pub(crate) fn service(
        &self,
        store: Arc<Store>,
        variables: Arc<BTreeMap<String, String>>,
        network: Network,
    ) -> wasmtime::Result<ProxyHandler<Instances>> {
        let mut linker = Linker::<Data>::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        spin_key_value::add_to_linker::<_, KeyValueData>(&mut linker, Data::key_value)?;
        spin_variables::add_to_linker::<_, Variables>(&mut linker, Data::variables)?;
        wasi_keyvalue::store::add_to_linker::<_, KeyValueData>(&mut linker, Data::key_value)?;
        wasi_keyvalue::atomics::add_to_linker::<_, KeyValueData>(&mut linker, Data::key_value)?;
        self.trap_the_rest(&mut linker)?;
        let component = ProxyPre::P3(ServicePre::new(linker.instantiate_pre(&self.component)?)?);
        Ok(ProxyHandler::new(Instances {
            engine: self.engine.clone(),
            component,
            store,
            variables,
            network,
        }))
    }

    /// Other `spin:` and `fermyon:` interfaces link, so that a component that imports them without
    /// need runs; a call traps. (wasmtime's own stubs for all unknown imports would also replace
    /// parts of `wasi:http`.)
    fn trap_the_rest(&self, linker: &mut Linker<Data>) -> wasmtime::Result<()> {
        const KNOWN: [&str; 2] = [
            "spin:key-value/key-value@3.0.0",
            "spin:variables/variables@3.0.0",
        ];
        for (name, item) in self.component.component_type().imports(&self.engine) {
            let ours = KNOWN.contains(&name);
            let spins = name.starts_with("spin:") || name.starts_with("fermyon:");
            let ComponentItem::ComponentInstance(interface) = item.ty else {
                continue;
            };
            if ours || !spins {
                continue;
            }
            let mut instance = linker.instance(name)?;
            for (function, item) in interface.exports(&self.engine) {
                match item.ty {
                    ComponentItem::ComponentFunc(_) => {
                        let called = format!("{name} {function} is not part of this test host");
                        instance
                            .func_new(function, move |_, _, _, _| wasmtime::bail!("{called}"))?;
                    }
                    ComponentItem::Resource(_) => {
                        instance
                            .resource(function, ResourceType::host::<Missing>(), |_, _| Ok(()))?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
