//! The API's token: asked for everywhere but where orchestrators ask, and never shown.

use harness::http::{self, Answer};
use harness::router::{RouterInside, RouterProcess, START_DEADLINE, Settings};
use hyper::Method;

const TOKEN: &str = "s3cret-0123456789/+==";

async fn get(api: std::net::SocketAddr, path: &str, authorization: Option<&str>) -> Answer {
    let headers: Vec<_> = authorization
        .map(|value| ("Authorization", value))
        .into_iter()
        .collect();
    let url = format!("http://{api}{path}");
    http::request(Method::GET, &url, &headers, "")
        .await
        .unwrap()
}

#[tokio::test]
async fn who_does_not_carry_the_token_is_told_so_and_changes_nothing() {
    let settings = Settings::new().env("API_TOKEN", TOKEN);
    let router = RouterInside::start(settings).unwrap();
    let api = router.at.api;
    let right = format!("Bearer {TOKEN}");
    let longer = format!("{right}0");
    let basic = format!("Basic {TOKEN}");
    for (authorization, challenge) in [
        (None, "Bearer realm=\"automc-router\""),
        (Some(basic.as_str()), "Bearer realm=\"automc-router\""),
        (Some(TOKEN), "Bearer realm=\"automc-router\""),
        (
            Some("Bearer wrong"),
            "Bearer realm=\"automc-router\", error=\"invalid_token\"",
        ),
        (
            Some(longer.as_str()),
            "Bearer realm=\"automc-router\", error=\"invalid_token\"",
        ),
        (
            Some(&right[..right.len() - 1]),
            "Bearer realm=\"automc-router\", error=\"invalid_token\"",
        ),
    ] {
        for path in automc_router::api::paths().chain(["/none", "/healthz/"]) {
            let open = ["/healthz", "/readyz"].contains(&path);
            let answer = get(api, path, authorization).await;
            let told = format!("{path} {authorization:?}: {answer:?}");
            assert_eq!(answer.status, if open { 200 } else { 401 }, "{told}");
            let sent = answer.header("www-authenticate");
            assert_eq!(sent, (!open).then_some(challenge), "{told}");
            assert!(!answer.body.contains("s3cret"), "{told}");
        }
    }
    let body = r#"{"serverAddress":"a.example","backend":"h:1"}"#;
    let refused = router.at.api(Method::POST, "/routes", body).await.unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(get(api, "/routes", Some(&right)).await.body, "{}");
    let lower = format!("bearer {TOKEN}");
    assert_eq!(get(api, "/none", Some(&lower)).await.status, 404);
}

#[tokio::test]
async fn no_secret_is_in_the_log_or_in_any_answer() {
    let settings = Settings::new()
        .flag("--log-level=trace")
        .flag("--metrics-backend-config-influxdb-password=s3cret-flag")
        .flag("--mapping=a.example=s3cret-host:1")
        .env("API_TOKEN", TOKEN)
        .env("AUTOMC_COOKIE_SECRET", "s3cret-0123456789");
    let router = RouterProcess::start(settings).await.unwrap();
    let right = format!("Bearer {TOKEN}");
    // Routes say where backends are, and events have no end.
    let closed = |path: &&str| !path.starts_with("/routes") && *path != "/events";
    for path in automc_router::api::paths().filter(closed) {
        let answer = get(router.at.api, path, Some(&right)).await;
        assert!(answer.status < 500, "{path}: {answer:?}");
        assert!(!answer.body.contains("s3cret"), "{path}: {answer:?}");
        get(router.at.api, path, Some("Bearer s3cret-wrong")).await;
    }
    let vars = get(router.at.api, "/vars", Some(&right))
        .await
        .json()
        .unwrap();
    let flags = vars["cmdline"].as_array().unwrap();
    assert!(flags.contains(&"--mapping".into()), "{flags:?}");
    assert!(
        vars["memstats"]["Sys"].as_u64().unwrap() > 1_000_000,
        "{vars}"
    );
    let log = router.process.tail(usize::MAX);
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn an_api_that_others_may_reach_is_warned_about_unless_it_has_a_token() {
    let open = Settings::default()
        .flag("--port=0")
        .flag("--api-binding=0.0.0.0:0");
    let warning = ["asks for no token", "API_TOKEN"];
    let router = RouterProcess::start(open.clone()).await.unwrap();
    router
        .process
        .line_with(&warning, START_DEADLINE)
        .await
        .unwrap();

    for settings in [open.env("API_TOKEN", TOKEN), Settings::new()] {
        let router = RouterProcess::start(settings).await.unwrap();
        // Whatever there is to say of the API has been said by then.
        let log = router.process.tail(usize::MAX);
        assert!(!log.contains("asks for no token"), "{log}");
    }
}
