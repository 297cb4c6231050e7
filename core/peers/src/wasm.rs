//! The tasks for a WebAssembly host: `src/run.mjs` puts a profile's two files in and keeps the time.
#![cfg(target_arch = "wasm32")]

use std::sync::{Mutex, OnceLock};

use crate::formats::{Format, Formats};
use crate::profile::Profile;
use crate::tasks::{Task, Tasks};

static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static FORMATS: Mutex<Option<Formats>> = Mutex::new(None);
static TASKS: OnceLock<Tasks<'static>> = OnceLock::new();

/// Room for so many bytes: the document followed by the request.
#[unsafe(no_mangle)]
extern "C" fn input(length: usize) -> *mut u8 {
    let mut input = INPUT.lock().expect("one thread");
    input.resize(length, 0);
    input.as_mut_ptr()
}

/// Reads what was put in; the document is the first so many bytes of it.
#[unsafe(no_mangle)]
extern "C" fn load(document: usize) -> usize {
    let input = INPUT.lock().expect("one thread");
    let profile = Profile::parse(&input[..document], &input[document..]).expect("a profile");
    let tasks = Tasks::new(Box::leak(Box::new(profile)));
    TASKS.get_or_init(|| tasks).package().bytes().len()
}

/// Does a task so many times.
#[unsafe(no_mangle)]
extern "C" fn run(task: usize, times: u32) -> usize {
    TASKS.get().expect("loaded").run(Task::ALL[task], times)
}

/// Makes up an environment of so many features and identity overrides, in all formats.
#[unsafe(no_mangle)]
extern "C" fn load_formats(features: usize, overrides: usize) {
    *FORMATS.lock().expect("one thread") = Some(Formats::new(features, overrides));
}

/// Answers from cold bytes in a format so many times.
#[unsafe(no_mangle)]
extern "C" fn run_format(format: usize, times: u32) -> usize {
    let formats = FORMATS.lock().expect("one thread");
    formats
        .as_ref()
        .expect("loaded")
        .run(Format::ALL[format], times)
}
