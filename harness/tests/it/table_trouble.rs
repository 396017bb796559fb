//! A table that somebody has made hard to follow: exchanged, locked, hidden, or filled with what is no route.

use std::time::Duration;

use harness::eventually::eventually;
use serde_json::Value;

use crate::followed::{DEADLINE, Followed};
use crate::shapes::database_with_role;

const B: Option<&str> = Some("127.0.0.1:2");
/// Three looks at the revision, which are ten seconds apart, and some time.
const LOOKS: Duration = Duration::from_secs(60);
/// What a router may need that reads rows of whatever size, in KiB.
const KIBIBYTES_MAX: usize = 100 * 1024;

impl Followed {
    /// Waits until /sync warns of something with `words` in it; or, without, of nothing.
    async fn warned(&self, words: Option<&str>) {
        let warned = async || {
            let sync = self.router.at.sync().await?;
            let warnings = sync["warnings"].as_array().unwrap();
            let mut texts = warnings.iter().filter_map(Value::as_str);
            let found = match words {
                Some(words) => texts.any(|text| text.contains(words)),
                None => texts.next().is_none(),
            };
            anyhow::ensure!(found, "{sync}");
            Ok(())
        };
        eventually("the warnings", LOOKS, warned).await.unwrap();
    }
}

/// The most memory the router ever had, in KiB.
fn peak(followed: &Followed) -> usize {
    let status = format!("/proc/{}/status", followed.router.process.pid());
    let status = std::fs::read_to_string(status).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim_end_matches("kB").trim();
    peak.parse().unwrap()
}

#[tokio::test]
async fn texts_of_any_size_cost_no_memory_and_are_refused_by_name() {
    let followed = Followed::start().await;
    for (name, column) in [("b", "address"), ("c", "aliases"), ("d", "hold_max")] {
        let insert = format!(
            "INSERT INTO servers (name, domain, address) VALUES ('{name}', '{name}.example', '127.0.0.1:2');
             UPDATE servers SET {column} = repeat('x,', 30000000) WHERE name = '{name}'"
        );
        followed.run(&insert).await;
    }
    followed.routed("d.example", B).await;
    for name in ["b", "c"] {
        let refused = async || {
            let reason = followed.reason(name).await?;
            reason.contains("over 65536 bytes").then_some(())
        };
        eventually("a refusal", DEADLINE, refused).await.unwrap();
    }
    let sync = followed.router.at.sync().await.unwrap();
    let ignored = sync["ignoredSettings"].to_string();
    assert!(ignored.contains("over 65536 bytes"), "{ignored}");
    // All of them at once, too.
    followed.terminate().await;
    followed.add("e", "e.example", "127.0.0.1:2").await;
    let peak = peak(&followed);
    assert!(peak < KIBIBYTES_MAX, "{peak} KiB");
}

/// As a job does that fills a new table every night. Nothing announces that, and the new one has no triggers.
#[tokio::test]
async fn a_table_that_is_exchanged_for_another_is_noticed_by_the_next_look() {
    let followed = Followed::start().await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
    let exchange = "BEGIN; CREATE TABLE fresh (LIKE servers INCLUDING DEFAULTS);
        INSERT INTO fresh (name, domain, address) VALUES ('a', 'a.example', '127.0.0.1:2');
        ALTER TABLE servers RENAME TO stale; ALTER TABLE fresh RENAME TO servers; COMMIT";
    followed.run(exchange).await;
    followed.routed("a.example", B).await;
    let untold = "no trigger on servers notifies";
    followed.says(&["WARN", untold]).await;
    followed.warned(Some(untold)).await;
    assert_eq!(followed.count("disconnected"), 0);
}

/// A trigger that is switched off says nothing, of itself neither.
#[tokio::test]
async fn a_trigger_that_is_switched_off_is_told_soon() {
    let followed = Followed::start().await;
    followed.warned(None).await;
    followed
        .run("ALTER TABLE servers DISABLE TRIGGER automc_servers_update")
        .await;
    followed
        .warned(Some("trigger automc_servers_update is disabled"))
        .await;
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_told_with_what_to_do_about_it() {
    let (database, settings) = database_with_role("sees_nothing").await;
    let followed = Followed::over(database, settings).await;
    followed
        .run(
            "ALTER TABLE servers ENABLE ROW LEVEL SECURITY; ALTER TABLE automc_revision ENABLE ROW LEVEL SECURITY;
             INSERT INTO servers (name, domain, address) VALUES ('a', 'a.example', '127.0.0.1:2');
             GRANT SELECT ON servers TO sees_nothing",
        )
        .await;
    let policy = "CREATE POLICY routes ON servers FOR SELECT TO sees_nothing USING (true)";
    followed.warned(Some(policy)).await;
    followed
        .warned(Some("sees no row of automc_revision"))
        .await;
    followed
        .run(&format!("{policy}; NOTIFY automc_routes_changed"))
        .await;
    followed.routed("a.example", B).await;
}

#[tokio::test]
async fn a_read_that_waits_for_a_lock_says_so_when_it_is_given_up() {
    let followed = Followed::start().await;
    followed
        .run("NOTIFY automc_routes_changed; BEGIN; LOCK TABLE servers IN ACCESS EXCLUSIVE MODE")
        .await;
    followed.terminate().await;
    let words = "is something holding a lock on it?";
    followed
        .says(&["automc pgsync disconnected", "not read within 15s", words])
        .await;
    followed.run("COMMIT").await;
    followed.add("a", "a.example", "127.0.0.1:2").await;
}

/// As behind a pooler in transaction mode, where LISTEN is accepted and leads to nothing.
#[tokio::test]
async fn changes_that_are_never_heard_of_are_told_until_they_are() {
    let (followed, proxy) = Followed::through_proxy().await;
    followed.add("a", "a.example", "127.0.0.1:1").await;

    proxy.losing().one_in(1);
    for port in 2..=4 {
        let address = format!("127.0.0.1:{port}");
        followed
            .run(&format!("UPDATE servers SET address = '{address}'"))
            .await;
        followed.routed("a.example", Some(&address)).await;
    }
    followed.warned(Some("PgBouncer")).await;
    followed.says(&["WARN", "PgBouncer"]).await;

    proxy.losing().one_in(0);
    followed.add("b", "b.example", "127.0.0.1:2").await;
    followed.warned(None).await;
}
