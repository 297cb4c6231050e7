//! What the program does from the command line besides serving and working.

mod create_admin;
mod influxdb;
mod overrule_edges;
mod snapshot;

pub use create_admin::CreateAdmin;
pub use influxdb::Influxdb;
pub use overrule_edges::OverruleEdges;
pub use snapshot::Snapshot;
