//! Which server a client is led to.

use std::path::Path;

use anyhow::Result;
use automc_router::protocol::handshake::Intent;

use super::Report;
use super::subject::Subject;
use crate::backend::Backend;
use crate::player::{Player, legacy_ping, ping_1_6};

/// Protocol numbers with a login start of their own, and some between: 1.7.2, 1.7.6, 1.8, 1.12.2, 1.13,
/// 1.18.2, 1.19, 1.19.1, 1.19.3, 1.20.1, 1.20.2, 1.21, 1.21.4.
const PROTOCOLS: &[i32] = &[4, 5, 47, 340, 393, 758, 759, 760, 761, 763, 764, 767, 769];
/// What is `a.example` for mc-router.
const SPELLINGS: &[&str] = &[
    "A.EXAMPLE",
    "a.Example.",
    "a.example\0FML\0",
    "a.example\0FML2\0",
    "a.example.\0FML3\0",
    "a.example\0FORGE",
    "a.example\x00192.0.2.1\x0011111111111111111111111111111111",
    "a.example///192.0.2.1:123///1700000000",
    "a.example\\11111111-1111-1111-1111-111111111111\\192.0.2.1",
];
/// What is not.
const OTHERS: &[&str] = &[
    "a.example..",
    " a.example",
    "a.example:25565",
    "_minecraft._tcp.a.example",
    "example",
    "",
];

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let a = Backend::start("server a").await?;
    let b = Backend::start("server b").await?;
    let default = Backend::start("the default").await?;
    let flags = [
        "-mapping",
        &format!("a.example={}", a.addr()),
        &format!("-mapping=b.example={0},c.example={0}", b.addr()),
        &format!("--default={}", default.addr()),
    ];
    let variable = format!("d.example={0}\n E.Example={0},,\n", b.addr());
    let started = Subject::start(program, &flags, &[("MAPPING", &variable)]).await;
    let Some(subject) = report.started("it starts with mappings and a default", started) else {
        return Ok(());
    };
    let all = [&a, &b, &default];
    hosts(&subject, report, all).await;
    clients(&subject, report, all).await;
    Ok(())
}

async fn hosts(subject: &Subject, report: &mut Report, [a, b, default]: [&Backend; 3]) {
    report
        .same("a status ping is led by its host name", async {
            subject.shows("a.example", a).await?;
            subject.shows("b.example", b).await
        })
        .await;
    report
        .same(
            "a login is led by its host name, every byte as it was sent",
            async {
                subject.leads(&Player::new("a.example"), a).await?;
                subject.leads(&Player::new("b.example"), b).await
            },
        )
        .await;
    report
        .same("repeated flags and commas add mappings", async {
            subject.leads(&Player::new("c.example"), b).await
        })
        .await;
    report
        .same(
            "MAPPING, split at commas and line ends, adds to the flags",
            async {
                subject.leads(&Player::new("d.example"), b).await?;
                subject.leads(&Player::new("e.example"), b).await
            },
        )
        .await;
    report
        .same("any other host is led to the default", async {
            subject.shows("nowhere.example", default).await?;
            subject
                .leads(&Player::new("nowhere.example"), default)
                .await
        })
        .await;
    report
        .same(
            "capitals, a trailing dot and what mods and proxies append do no harm",
            async {
                for spelling in SPELLINGS {
                    subject.leads(&Player::new(spelling), a).await?;
                }
                Ok(())
            },
        )
        .await;
    report
        .better(
            "a trailing dot before TCPShield's suffix does no harm",
            async {
                subject
                    .leads(&Player::new("a.example.///192.0.2.1:1///1"), a)
                    .await
            },
        )
        .await;
    report
        .same("other spellings are other hosts", async {
            for spelling in OTHERS {
                subject.leads(&Player::new(spelling), default).await?;
            }
            Ok(())
        })
        .await;
}

async fn clients(subject: &Subject, report: &mut Report, [a, b, default]: [&Backend; 3]) {
    report
        .same(
            "logins of every version are led, every byte as it was sent",
            async {
                for &protocol in PROTOCOLS {
                    let player = Player {
                        protocol,
                        ..Player::new("a.example")
                    };
                    subject.leads(&player, a).await?;
                }
                Ok(())
            },
        )
        .await;
    report
        .same("a transfer is led like a login", async {
            let player = Player {
                intent: Intent::Transfer,
                ..Player::new("b.example")
            };
            subject.leads(&player, b).await
        })
        .await;
    report
        .same("a ping of 1.6 is led by its host name", async {
            let answer = legacy_ping(subject.players, [&ping_1_6("b.example")[..]]).await?;
            anyhow::ensure!(answer.contains(&b.name().to_owned()), "{answer:?}");
            Ok(())
        })
        .await;
    report
        .same(
            "a ping of 1.6 may come byte by byte, with capitals, and for a host that is not known",
            async {
                for (host, backend) in [("B.Example.", b), ("nowhere.example", default)] {
                    let ping = ping_1_6(host);
                    let answer = legacy_ping(subject.players, ping.chunks(1)).await?;
                    let name = backend.name().to_owned();
                    anyhow::ensure!(answer.contains(&name), "{host}: {answer:?}");
                }
                Ok(())
            },
        )
        .await;
    report
        .better(
            "pings of 1.3 and 1.5, which name no host, are led to the default",
            async {
                for ping in [&[0xFE][..], &[0xFE, 0x01]] {
                    let answer = legacy_ping(subject.players, [ping]).await?;
                    anyhow::ensure!(answer.contains(&default.name().to_owned()), "{answer:?}");
                }
                Ok(())
            },
        )
        .await;
}
