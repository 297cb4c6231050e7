//! Where the API listens.

use std::net::SocketAddr;

use clap::Args;

/// The HTTP server.
#[derive(Args, Clone, Debug)]
pub struct Server {
    /// The address to listen on.
    #[arg(
        long,
        env = "YARDARM_LISTEN",
        default_value = "127.0.0.1:8000",
        global = true
    )]
    pub listen: SocketAddr,
}
