//! Bytes from anywhere are a package or are refused; what is taken in can be asked.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use yardarm_core::snapshot::{Package, inspect};

fuzz_target!(|data: &[u8]| {
    if let Ok(package) = Package::open(Bytes::copy_from_slice(data)) {
        let _ = (package.meta(), package.document_page(0));
        assert_eq!(package.missing().is_empty(), package.is_whole());
        let again = Package::open(package.bytes()).expect("was taken in before");
        assert_eq!(again.bytes(), package.bytes());
        inspect(&package);
    }
});
