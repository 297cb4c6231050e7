//! What the program does from the command line besides serving and working.

mod create_admin;
mod influxdb;
mod snapshot;

pub use create_admin::CreateAdmin;
pub use influxdb::Influxdb;
pub use snapshot::Snapshot;
