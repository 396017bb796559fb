//! Routes from the labels of containers, on a real engine.

use std::net::SocketAddr;
use std::time::Duration;

use harness::engine::proxy::{EngineProxy, Mode};
use harness::engine::{Container, Engine, Wish};
use harness::eventually::eventually;
use harness::player::Player;
use harness::router::{RouterProcess, Settings};

const DEADLINE: Duration = Duration::from_secs(30);

/// A router that knows this engine's containers.
async fn router(proxy: &EngineProxy, settings: Settings) -> RouterProcess {
    let settings = settings
        .flag("--in-docker")
        .flag(format!("--docker-socket={}", proxy.socket()));
    RouterProcess::start(settings).await.unwrap()
}

/// The engine, a proxy before it, and a router; `None` where there is no engine.
async fn world(settings: Settings) -> Option<(Engine, EngineProxy, RouterProcess)> {
    let engine = Engine::find().await.unwrap()?;
    let proxy = engine.proxy().await.unwrap();
    let router = router(&proxy, settings).await;
    Some((engine, proxy, router))
}

async fn at(container: &Container, port: u16) -> String {
    let address = container.address(None).await.unwrap();
    SocketAddr::new(address, port).to_string()
}

/// What a ping of `host` shows; it may take until the server inside listens.
async fn shows(router: &RouterProcess, host: &str, text: &str) {
    eventually(&format!("{host} to show {text}"), DEADLINE, async || {
        let status = Player::new(host).status(router.at.players).await?;
        anyhow::ensure!(status.text() == text, "{}", status.text());
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_labelled_container_is_a_route_while_it_runs_and_none_once_it_is_gone() {
    let Some((engine, _proxy, router)) = world(Settings::new()).await else {
        return;
    };
    let wish = Wish::host("Live.Example,\n other.example.");
    let container = engine.run("live", wish).await.unwrap();
    let address = at(&container, 25565).await;
    for host in ["live.example", "other.example"] {
        router
            .at
            .routed(host, Some(&address), DEADLINE)
            .await
            .unwrap();
        shows(&router, host, "live").await;
    }
    Player::new("live.example")
        .enter(router.at.players)
        .await
        .unwrap();

    container.stop().await.unwrap();
    router
        .at
        .routed("live.example", None, DEADLINE)
        .await
        .unwrap();
    container.start().await.unwrap();
    shows(&router, "live.example", "live").await;
    drop(container);
    router
        .at
        .routed("other.example", None, DEADLINE)
        .await
        .unwrap();
}
