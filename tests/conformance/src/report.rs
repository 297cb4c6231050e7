//! What passed and what did not.

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct Report {
    passed: usize,
    failures: Vec<String>,
}

impl Report {
    /// Notes one check.
    pub fn add(&mut self, name: &str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => self.failures.push(format!("{name}: {error:#}")),
        }
    }

    /// Notes checks that passed.
    pub fn add_passed(&mut self, count: usize) {
        self.passed += count;
    }

    /// How many passed.
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// One text a failed check.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// `N passed, N failed`.
    pub fn summary(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failures.len())
    }
}
