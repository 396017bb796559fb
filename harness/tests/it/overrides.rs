//! Settings of one route from its row: live, told when they cannot be honoured, and optional.

use automc_router::routes::overrides::Setting;
use harness::eventually::eventually;
use serde_json::{Value, json};

use crate::followed::{DEADLINE, Followed};
use crate::shapes::{FIRST_SHAPE, database_with_role};

/// `[name, column]` of every setting that is not honoured.
async fn ignored(followed: &Followed) -> Vec<Value> {
    let sync = followed.router.at.sync().await.unwrap();
    let settings = sync["ignoredSettings"].as_array().unwrap();
    assert_eq!(sync["ignoredSettingsCount"], settings.len());
    let pair = |setting: &Value| json!([setting["name"], setting["column"]]);
    settings.iter().map(pair).collect()
}

async fn ignores(followed: &Followed, expected: &[[&str; 2]]) {
    let expected: Vec<_> = expected.iter().map(|pair| json!(pair)).collect();
    let as_expected = async || ignored(followed).await == expected;
    let done = eventually("the settings ignored", DEADLINE, as_expected).await;
    if done.is_err() {
        panic!("{:?} instead of {expected:?}", ignored(followed).await);
    }
}

#[tokio::test]
async fn a_change_of_any_setting_goes_live_and_is_logged_by_its_column() {
    let followed = Followed::start().await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
    for setting in Setting::ALL {
        let column = setting.column();
        let value = match setting {
            Setting::Join => "'transfer,kick'",
            Setting::HoldMax | Setting::Settle | Setting::MinOnline | Setting::DownAfter => "'7s'",
            Setting::ForwardTo => "'lobby:25565'",
            Setting::CompressionHold | Setting::KeepTransferIntent => "true",
            Setting::WakeAllow | Setting::WakeDeny => "'Notch, 069a79f444e94726a5befca90e38aaf5'",
            Setting::WakeHours => "'mon-fri 08:00-22:00 Europe/Berlin'",
            Setting::ProxyProtocol => "'v1'",
            Setting::Balance => "'round-robin'",
            Setting::Texts => r#"'{"asleep": "Zzz"}'"#,
        };
        followed
            .run(&format!("UPDATE servers SET {column} = {value}"))
            .await;
        let words = format!("automc route ~: a.example has other settings: {column}");
        followed.says(&["INFO", &words]).await;
    }
    followed
        .run("UPDATE servers SET state = 'running', settle = NULL, hold_max = ''")
        .await;
    followed
        .says(&["a.example is Running, has other settings: hold_max, settle"])
        .await;
    ignores(&followed, &[]).await;
}

#[tokio::test]
async fn what_cannot_be_honoured_is_told_once_and_takes_no_route_away() {
    let followed = Followed::start().await;
    followed
        .run(
            "INSERT INTO servers (name, domain, address, hold_max, forward_to, settle) VALUES
            ('a', 'a.example', '127.0.0.1:1', 'soon', 'nowhere', '3s')",
        )
        .await;
    followed.routed("a.example", Some("127.0.0.1:1")).await;
    ignores(&followed, &[["a", "hold_max"], ["a", "forward_to"]]).await;
    let words = "row \"a\": hold_max is left at its default: \"soon\" is not a duration";
    followed.says(&["WARN", words]).await;

    followed.add("b", "b.example", "127.0.0.1:2").await;
    assert_eq!(followed.count(words), 1, "said already");
    followed.run("UPDATE servers SET hold_max = '20s'").await;
    ignores(&followed, &[["a", "forward_to"]]).await;
    followed
        .run("UPDATE servers SET forward_to = NULL, join_methods = 'forward,kick' WHERE name = 'a'")
        .await;
    ignores(&followed, &[["a", "join_methods"]]).await;
}

#[tokio::test]
async fn columns_added_by_hand_are_read_whatever_their_type() {
    let columns =
        "ALTER TABLE servers ADD join_methods TEXT[], ADD wake_allow TEXT[], ADD wake_hours TEXT[],
        ADD settle INTERVAL, ADD compression_hold TEXT, ADD texts JSON;
        UPDATE servers SET join_methods = '{hold,\"kick\"}', wake_allow = '{}',
        wake_hours = '{sat-sun 10:00-02:00,mon-fri 08:00-22:00 +02:00}', settle = '3s',
        compression_hold = 'on', texts = '{\"asleep\": \"Zzz\"}'";
    let followed = Followed::shaped(FIRST_SHAPE).await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
    followed.run(columns).await;
    // The shape is looked at whenever a session begins.
    followed.terminate().await;
    let words = "has other settings: compression_hold, wake_hours, texts";
    followed.says(&["automc route ~: a.example", words]).await;
    let unannounced = "a change of name, join_methods, settle, compression_hold, wake_allow";
    followed.says(&["WARN", unannounced]).await;
    // As an interval it is written 00:00:03.
    ignores(&followed, &[["a", "settle"]]).await;
}

#[tokio::test]
async fn settings_a_role_may_not_read_are_named_and_left_at_their_defaults() {
    let (database, settings) = database_with_role("reads_routes").await;
    let sql = database.client().await.unwrap();
    let grant =
        "GRANT SELECT (name, domain, address, state, enabled, settle) ON servers TO reads_routes";
    sql.batch_execute(grant).await.unwrap();
    let followed = Followed::over(database, settings).await;
    followed
        .run(
            "INSERT INTO servers (name, domain, address, hold_max, settle) VALUES
            ('a', 'a.example', '127.0.0.1:1', 'soon', 'later')",
        )
        .await;
    followed.routed("a.example", Some("127.0.0.1:1")).await;
    ignores(&followed, &[["a", "settle"]]).await;
    followed
        .says(&[
            "WARN",
            "role reads_routes may not read join_methods, hold_max, forward_to",
        ])
        .await;
}
