//! What players read: the operator's texts from the file, the environment and the rows, with what
//! is known of the server in them, in the player's language where that is known.

use std::time::Duration;

use automc_router::protocol::dialog::LEAVE;
use harness::backend::Asleep;
use harness::eventually::eventually;
use harness::manager::Reply;
use harness::player::{Outcome, Player, legacy_ping, ping_1_6, plain_text};
use harness::router::Settings;
use harness::table::Table;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::binary::ran;
use crate::transfer::{configuring, with_manager};

const DEADLINE: Duration = Duration::from_secs(20);

async fn shown(player: &Player, table: &Table) -> Value {
    let status = player.status(table.router.at.players).await.unwrap();
    status.json
}

/// The component of a refusal, as it came.
async fn refused(player: &Player, table: &Table) -> Value {
    let mut session = player.knock(table.router.at.players).await.unwrap();
    match session.wait().await.unwrap() {
        Outcome::Refused(component) => component,
        other => panic!("{other:?}"),
    }
}

/// What stands where the names of players would.
fn hover(status: &Value) -> Vec<&str> {
    let sample = status["players"]["sample"].as_array();
    let names = sample.into_iter().flatten();
    names.map(|one| one["name"].as_str().unwrap()).collect()
}

/// With codes in one text, and as a component in the other; fields in both.
fn own_texts() -> Value {
    json!({
        "asleep": "§6{server} sleeps[[, {eta} to go|, §lbad luck]]\n{retry} is not known\n§7Join!",
        "kick_wake_denied": {
            "text": "", "extra": [
                { "text": "No, ", "color": "red", "bold": true },
                { "text": "not {server}[[ in {retry}]]" },
            ],
        },
    })
}

/// The same in TOML, as the file's table of defaults has it.
const OWN_TEXTS_FILE: &str = r#"
[defaults.texts]
asleep = "§6{server} sleeps[[, {eta} to go|, §lbad luck]]\n{retry} is not known\n§7Join!"
[defaults.texts.kick_wake_denied]
text = ""
extra = [{ text = "No, ", color = "red", bold = true }, { text = "not {server}[[ in {retry}]]" }]
"#;

async fn says_as_told(table: &Table, player: &Player, name: &str) {
    let asleep = format!("§6{name} sleeps, §lbad luck\n§7Join!");
    let status = shown(player, table).await;
    assert_eq!(status["description"], json!({ "text": asleep }));
    let legacy = ping_1_6(&player.address);
    let legacy = legacy_ping(table.router.at.players, [&*legacy]).await;
    assert_eq!(legacy.unwrap()[3], asleep.replace('\n', " "));
    let due = json!({ "text": "", "extra": [
        { "text": "No, ", "color": "red", "bold": true },
        { "text": format!("not {name}") },
    ]});
    assert_eq!(refused(player, table).await, due);
}

#[tokio::test]
async fn texts_of_the_file_and_of_the_environment_are_everybodys() {
    let environment = Settings::new().env("AUTOMC_TEXTS", own_texts().to_string());
    let (_folder, from_file) = Settings::file(OWN_TEXTS_FILE).unwrap();
    for settings in [environment, from_file] {
        let settings = settings.env("AUTOMC_WAKE_DENY", "Steve");
        let (_manager, table) = Table::with_manager(settings).await.unwrap();
        for name in ["test1", "test2"] {
            let (_asleep, player) = table.asleep(name).await.unwrap();
            says_as_told(&table, &player, name).await;
        }
    }
}

/// What the row says nothing of is the configuration's, and what that says nothing of is built in.
#[tokio::test]
async fn texts_of_a_row_lie_over_those_of_everybody_and_change_live() {
    let settings = Settings::new()
        .env("AUTOMC_TEXTS", r#"{"asleep": "all", "stopping": "all"}"#)
        .env("AUTOMC_WAKE_DENY", "Steve");
    let (_manager, table) = Table::with_manager(settings).await.unwrap();
    let asleep = Asleep::new().unwrap();
    let own = own_texts().to_string();
    let texts = [("texts", &*own)];
    let player = table.server_with("test1", asleep.addr(), "stopped", &texts);
    let player = player.await.unwrap();
    says_as_told(&table, &player, "test1").await;
    let other = table.server("test2", asleep.addr(), "stopped").await;
    let other = other.unwrap();
    assert_eq!(shown(&other, &table).await["description"]["text"], "all");
    let denied = refused(&other, &table).await;
    assert!(plain_text(&denied).starts_with("You may not start"));

    let update =
        "UPDATE servers SET texts = $1::text::jsonb, state = 'stopping' WHERE name = 'test1'";
    for (texts, text) in [
        (
            r#"{"stopping": {"translate": "gui.stop", "fallback": "{server}"}}"#,
            None,
        ),
        (r#"{"stopping": "{server} goes"}"#, Some("test1 goes")),
        ("{}", Some("all")),
    ] {
        table.sql.execute(update, &[&texts]).await.unwrap();
        let due = text.map_or_else(
            || json!({ "translate": "gui.stop", "fallback": "test1" }),
            |text| json!({ "text": text }),
        );
        let done = async || {
            let status = shown(&player, &table).await;
            anyhow::ensure!(status["description"] == due, "{status}");
            Ok(())
        };
        eventually("the new text", DEADLINE, done).await.unwrap();
    }
}

/// A locale; what the dialog's title and button say then, how its text ends, and how a leaver is told.
const SPOKEN: [[&str; 5]; 4] = [
    [
        "de_at",
        "Bitte test1",
        "Weg",
        "Wartende Spieler: 1",
        "Tschüss",
    ],
    [
        "pt_br",
        "Oi",
        "Sair",
        "Jogadores à espera: 1",
        "Você parou de esperar.",
    ],
    [
        "en_us",
        "test1, please",
        "Leave",
        "Waiting players: 1",
        "You stopped waiting.",
    ],
    // Neither told nor built in: the row's own default.
    [
        "tlh_aa",
        "test1, please",
        "Quitter",
        "Joueurs en attente : 1",
        "Vous n'attendez plus.",
    ],
];

#[tokio::test]
async fn who_waits_in_configuration_reads_the_texts_of_the_clients_language() {
    let (_manager, table) = with_manager().await;
    let asleep = Asleep::new().unwrap();
    let own = json!({
        "dialog_title": "{server}, please",
        "de": { "dialog_title": "Bitte {server}", "dialog_leave": "Weg", "kick_left": "Tschüss" },
        "pt_br": { "dialog_title": "Oi" },
        "language": "fr",
    });
    let own = own.to_string();
    let texts = [("texts", &*own)];
    let player = table.server_with("test1", asleep.addr(), "stopped", &texts);
    let player = Player {
        protocol: 771,
        ..player.await.unwrap()
    };
    for [locale, title, leave, waiting, left] in SPOKEN {
        let player = Player {
            locale: locale.to_owned(),
            ..player.clone()
        };
        let mut session = configuring(&player, &table).await;
        while session.dialogs().is_empty() {
            assert_eq!(session.step().await.unwrap(), None);
        }
        let dialog = session.dialogs()[0].clone();
        assert_eq!(plain_text(&dialog["title"]), title, "{locale}");
        let body = plain_text(&dialog["body"][0]["contents"]);
        assert!(body.ends_with(waiting), "{locale}: {body}");
        assert!(
            dialog.to_string().contains(&format!("{leave:?}")),
            "{dialog}"
        );
        session.click(LEAVE).await.unwrap();
        match session.wait().await.unwrap() {
            Outcome::Refused(component) => {
                let text = plain_text(&component);
                assert!(text.starts_with(left), "{locale}: {text}");
            }
            other => panic!("{other:?}"),
        }
        drop(session);
        eventually("nobody to wait", DEADLINE, async || {
            matches!(table.metric("automc_held_players").await, Ok(0))
        })
        .await
        .unwrap();
    }
}

/// Seconds until the next try, as a text that ends so tells them.
fn seconds(text: &str, before: &str, after: &str) -> u64 {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{text}"));
    let number = rest.strip_suffix(after).unwrap_or_else(|| panic!("{text}"));
    number.parse().unwrap_or_else(|_| panic!("{text}"))
}

/// How a player is told who is held in configuration, or would be.
async fn told(player: &Player, table: &Table) -> String {
    let mut session = configuring(player, table).await;
    match timeout(DEADLINE, session.wait()).await.unwrap().unwrap() {
        Outcome::Refused(component) => plain_text(&component),
        other => panic!("{other:?}"),
    }
}

/// It takes the five seconds for which the first failure stands.
#[tokio::test]
async fn a_server_that_failed_twice_says_so_with_the_time_of_the_next_try() {
    let (manager, table) = with_manager().await;
    manager.polls([Reply::state("failed")]);
    let asleep = Asleep::new().unwrap();
    let transfers = table.server_with("test1", asleep.addr(), "stopped", &[]);
    let transfers = Player {
        locale: "de_de".to_owned(),
        ..transfers.await.unwrap()
    };
    let holds = [("join_methods", "hold")];
    let holds = table.server_with("test2", asleep.addr(), "stopped", &holds);
    let holds = holds.await.unwrap();
    let failed = async || {
        told(&transfers, &table).await;
        table.refusal(&holds).await.unwrap();
    };
    failed().await;
    for player in [&transfers, &holds] {
        let try_again = "§cThis server did not start.\n§7Join to try again.";
        let due = async || {
            let status = shown(player, &table).await;
            anyhow::ensure!(status["description"]["text"] == try_again, "{status}");
            Ok(())
        };
        eventually("the next try to be due", DEADLINE, due)
            .await
            .unwrap();
    }
    failed().await;
    assert_eq!(manager.counts().0, 4);

    let german = told(&transfers, &table).await;
    let english = table.refusal(&holds).await.unwrap();
    let status = shown(&holds, &table).await;
    let legacy = ping_1_6(&holds.address);
    let legacy = legacy_ping(table.router.at.players, [&*legacy])
        .await
        .unwrap();

    let german = seconds(
        &german,
        "Der Start dieses Servers ist zweimal misslungen.\nDer nächste Versuch ist in ",
        " s.",
    );
    let english = seconds(
        &english,
        "This server failed to start twice.\nThe next try is in ",
        " s.",
    );
    let text = status["description"]["text"].as_str().unwrap();
    let before = "§cThis server did not start.\n§7The next try is in ";
    let in_status = seconds(text, before, " s.");
    let in_legacy = seconds(&legacy[3], "§7The next try is in ", " s.");
    let in_hover = seconds(hover(&status)[0], "§7Next try in ", " s");
    for seconds in [german, english, in_status, in_legacy, in_hover] {
        assert!((1..=10).contains(&seconds), "{seconds}");
    }
    assert_eq!(hover(&status).len(), 1);
    assert_eq!(manager.counts().0, 4);
    let refusals = "automc_wake_refusals_total{reason=\"backing_off\"}";
    let counted = async || {
        let count = table.metric(refusals).await?;
        anyhow::ensure!(count == 2, "{count}");
        Ok(())
    };
    eventually("both to be counted", DEADLINE, counted)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_hover_list_tells_eta_progress_and_who_waits() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    manager.polls([Reply::json(&json!({ "state": "starting", "progress": 40 }))]);
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let asleep = Asleep::new().unwrap();
    let own = [(
        "texts",
        r#"{"hover": "{server}\n§e{waiting} in line\n{retry}"}"#,
    )];
    let other = table.server_with("test2", asleep.addr(), "stopped", &own);
    let other = other.await.unwrap();
    assert_eq!(hover(&shown(&player, &table).await), [""; 0]);
    assert_eq!(hover(&shown(&other, &table).await), ["test2"]);

    let mut waiting = Vec::new();
    for (player, name) in [
        (&player, "a"),
        (&player, "b"),
        (&player, "c"),
        (&other, "a"),
    ] {
        let player = Player {
            name: name.to_owned(),
            ..player.clone()
        };
        waiting.push(player.knock(table.router.at.players).await.unwrap());
    }

    let all = async || {
        let status = shown(&player, &table).await;
        let lines = hover(&status);
        let [eta, progress, waiting] = lines[..] else {
            anyhow::bail!("{lines:?}")
        };
        let about = eta.strip_prefix("§7Ready in about ");
        anyhow::ensure!(about.is_some_and(|eta| eta.ends_with(" s")), "{lines:?}");
        anyhow::ensure!(progress == "§7Progress: 40%", "{lines:?}");
        anyhow::ensure!(waiting == "§7Waiting players: 3", "{lines:?}");
        Ok(status)
    };
    let status = eventually("the three lines", DEADLINE, all).await.unwrap();
    assert_eq!(status["players"]["online"], 0);
    let text = status["description"]["text"].as_str().unwrap();
    assert!(text.contains("It will be ready in about "), "{text}");
    let own = async || {
        let status = shown(&other, &table).await;
        anyhow::ensure!(hover(&status) == ["test2", "§e1 in line"], "{status}");
        Ok(())
    };
    eventually("the other's own lines", DEADLINE, own)
        .await
        .unwrap();
    drop(waiting);
    let left = async || !hover(&shown(&player, &table).await).contains(&"§7Waiting players: 3");
    eventually("them to be gone", DEADLINE, left).await.unwrap();
}

/// What is wrong with each, and the words for it.
const MISTAKES: [(&str, &str); 8] = [
    (r#"{"asleep": "{etta}"}"#, "asleep: unknown field {etta}"),
    (r#"{"aslep": "x"}"#, "aslep: there is no text of this name"),
    (r#"{"de": {"asleep": 7}}"#, "de.asleep: neither a text nor"),
    (r#"{"de": "x"}"#, "de: a language holds an object"),
    (
        r#"{"asleep": {"text": "x", "colour": "red"}}"#,
        "property \"colour\"",
    ),
    (
        r#"{"language": "tlh"}"#,
        "language: not a language that is built in",
    ),
    (r#"["asleep"]"#, "not a JSON object"),
    (r#"{"asleep": "x""#, "not JSON"),
];

#[tokio::test]
async fn a_mistake_in_the_texts_of_everybody_is_named_at_the_start() {
    for (texts, words) in MISTAKES {
        let output = ran(&["--port=0"], &[("AUTOMC_TEXTS", texts)]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{texts}: {error}");
        let named = "environment variable AUTOMC_TEXTS: ";
        assert!(error.contains(named), "{texts}: {error}");
        assert!(error.contains(words), "{texts}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.toml");
    std::fs::write(&path, "[defaults.texts]\nasleep = \"{etta}\"").unwrap();
    let output = ran(&["--port=0", "--config", path.to_str().unwrap()], &[]).await;
    let error = String::from_utf8(output.stderr).unwrap();
    let named = format!("{}, table [defaults], key texts: ", path.display());
    assert!(error.contains(&named), "{error}");
    assert!(error.contains("asleep: unknown field {etta}"), "{error}");
}

#[tokio::test]
async fn a_mistake_in_a_rows_texts_is_named_in_sync_and_takes_no_route_away() {
    let settings = Settings::new().env("AUTOMC_TEXTS", r#"{"asleep": "all"}"#);
    let table = Table::start(settings).await.unwrap();
    // Whoever has made the column as text can write anything there.
    let as_text = "ALTER TABLE servers ALTER texts TYPE TEXT";
    table.sql.batch_execute(as_text).await.unwrap();
    let asleep = Asleep::new().unwrap();
    for (number, (texts, words)) in MISTAKES.into_iter().enumerate() {
        let name = format!("test{number}");
        let own = [("texts", texts)];
        let player = table.server_with(&name, asleep.addr(), "stopped", &own);
        let player = player.await.unwrap();
        assert_eq!(shown(&player, &table).await["description"]["text"], "all");
        let sync = table.router.at.sync().await.unwrap();
        let ignored = sync["ignoredSettings"].as_array().unwrap();
        assert_eq!(ignored.len(), 1, "{sync}");
        assert_eq!(ignored[0]["name"], *name);
        assert_eq!(ignored[0]["column"], "texts");
        let reason = ignored[0]["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{reason}");

        let mend = "UPDATE servers SET texts = '{\"asleep\": \"mended\"}' WHERE name = $1";
        table.sql.execute(mend, &[&name]).await.unwrap();
        let mended = async || {
            let status = shown(&player, &table).await;
            anyhow::ensure!(status["description"]["text"] == "mended", "{status}");
            Ok(())
        };
        eventually("the mended text", DEADLINE, mended)
            .await
            .unwrap();
        let sync = table.router.at.sync().await.unwrap();
        assert_eq!(sync["ignoredSettingsCount"], 0, "{sync}");
    }
}
