//! Bytes from anywhere are a package or are refused; what is taken in can be asked.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use yardarm_core::snapshot::{Package, inspect};

fuzz_target!(|data: &[u8]| {
    if let Ok(package) = Package::open(Bytes::copy_from_slice(data)) {
        let meta = package.meta();
        for bucket in 0..meta.override_buckets.min(16) {
            package.override_bucket(bucket).expect("is there");
        }
        inspect(&package);
    }
});
