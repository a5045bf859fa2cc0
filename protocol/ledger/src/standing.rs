//! How nodes stand: what the network remembers of each, from one boundary to the next.

use floe_risk::Params as Constants;
use floe_types::Params;

/// The constants of risk and repair of a network with these parameters.
pub(crate) fn constants(params: &Params) -> Constants {
    // An epoch of a public network stands for an hour, a shorter one for six.
    if params.epoch_millis >= 3_600_000 { Constants::standard() } else { Constants::devnet() }
}
