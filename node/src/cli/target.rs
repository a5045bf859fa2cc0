//! Which node to talk to: the one named, else a live one of `./devnet`, else the usual address.

use super::args::Common;
use crate::devnet::Devnet;
use floe_api::Problem;
use floe_api::client::Client;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// Where a node listens when nobody says otherwise.
const USUAL: &str = "http://127.0.0.1:7101";
/// The directory of a devnet in which a command may be typed.
const DEVNET: &str = "devnet";
/// How long a local node may take to accept a connection.
const ACCEPT: Duration = Duration::from_millis(300);

/// A client of the node to talk to.
pub(super) fn client(common: &Common) -> Result<Client, Problem> {
    let url = match &common.url {
        Some(url) => url.clone(),
        None => live_devnet_node(Path::new(DEVNET)).unwrap_or_else(|| USUAL.to_owned()),
    };
    Client::new(&url, common.timeout)
}

/// The first node of the devnet in `directory` that accepts connections; the first of all when none does, so that the
/// error names a node of that devnet.
fn live_devnet_node(directory: &Path) -> Option<String> {
    let devnet = Devnet::open(directory).ok()?;
    let addresses: Vec<_> = devnet.nodes().iter().map(|node| node.http).collect();
    let live = addresses.iter().find(|address| TcpStream::connect_timeout(address, ACCEPT).is_ok());
    live.or(addresses.first()).map(|address| format!("http://{address}"))
}
