//! The table of versions, compared with what others know of Minecraft's releases.

use automc_router::protocol::versions::VERSIONS;
use harness::clients::{self, data::Data};

/// In CI, a new release makes this fail, whatever was changed here: its players are to be let in by the next version of
/// the router, and somebody has to look at what the release moved.
#[tokio::test]
async fn every_release_of_the_newest_minecraft_data_is_in_the_table() {
    if !clients::node_is_here().await.unwrap() {
        return;
    }
    let data = Data::newest().await.unwrap();
    assert!(data.packets.len() >= 40, "{}", data.packets.len());
    let differences = data.differences(VERSIONS);
    assert!(
        differences.is_empty(),
        "router/src/protocol/versions.rs and minecraft-data {}:\n{}",
        data.edition,
        differences.join("\n")
    );
}
