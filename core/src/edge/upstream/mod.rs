//! An edge for an existing Flagsmith: what to ask it, and what to make of its answers.
//!
//! Every host pulls the environment document of each pair of keys it was given, and installs what has
//! changed as if a control plane had published it. The rules are here; a host sends the requests, keeps the
//! [`Watch`] of each environment and the time between two looks.
//!
//! ```text
//! Watch::pull ─► Pull::request ─► (host's HTTP client) ─► Pull::answer ─┬─► Ask: the next page, or a redirect
//!      ▲                                                                └─► Done(End) ─► Watch::settle ─► install
//!      └──────────────────────────── Watch::wait ◄──────────────────────────────────────────┘
//! ```

mod address;
mod keys;
mod pull;
mod renewal;
mod status;
mod watch;

pub use address::{Root, RootError};
pub use keys::{KeyPair, KeyPairError, read_key_pairs};
pub use pull::{End, Fetched, Pull, PullError, Step, Validators};
pub use renewal::{Renewal, renew};
pub use status::{LookStatus, UpstreamStatus};
pub use watch::{Verdict, Watch};
