//! The configuration of relays that are not ours, as texts.

use std::net::SocketAddr;
use std::path::Path;

/// Files a relay needs besides those of its sessions: listeners, logs, what its runtime opens.
const FILES_BESIDES: u64 = 200;
/// Pipes of HAProxy for splicing, two files each; it takes one for as long as bytes are in it.
const PIPES: u64 = 64;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Where a relay listens and what is behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) listen: SocketAddr,
    pub(super) server: SocketAddr,
}

/// The machine, as far as a relay is set up for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    pub(super) processors: usize,
    pub(super) files_max: u64,
}

/// Most players HAProxy can be told to hold: with a limit too high for the files it may open, it
/// does not start.
pub(super) fn haproxy_players_max(machine: Machine, splice: bool) -> u64 {
    let pipes = if splice { PIPES } else { 0 };
    machine.files_max.saturating_sub(FILES_BESIDES + 2 * pipes) / 2
}

/// HAProxy: TCP, one thread a processor, nothing logged, as many connections as files allow.
pub(super) fn haproxy(ends: Ends, machine: Machine, splice: bool) -> String {
    let Ends { listen, server } = ends;
    let threads = machine.processors;
    let players = haproxy_players_max(machine, splice);
    let (pipes, option) = if splice {
        // `splice-auto` hardly ever does here: full reads of its 16 KiB buffers do not convince it.
        let option = "    option splice-request\n    option splice-response\n";
        (format!("    maxpipes {PIPES}\n"), option)
    } else {
        (String::new(), "")
    };
    format!(
        "global\n    nbthread {threads}\n    maxconn {players}\n{pipes}\
         defaults\n    mode tcp\n    maxconn {players}\n{option}    \
         timeout connect 10s\n    timeout client 1h\n    timeout server 1h\n\
         listen bench\n    bind {listen} backlog {BACKLOG}\n    server bench {server}\n"
    )
}

/// nginx stream: one worker a processor, players shared evenly between them (`reuseport`), nothing
/// logged. `module` is the stream module where it is not built in; `folder` takes the pid file.
pub(super) fn nginx(ends: Ends, machine: Machine, module: Option<&Path>, folder: &Path) -> String {
    let Ends { listen, server } = ends;
    let Machine {
        processors,
        files_max,
    } = machine;
    let module = module.map_or_else(String::new, |module| {
        format!("load_module {};\n", module.display())
    });
    let folder = folder.display();
    format!(
        "{module}daemon off;\nworker_processes {processors};\nworker_rlimit_nofile {files_max};\n\
         pid {folder}/nginx.pid;\nerror_log stderr alert;\n\
         events {{\n    worker_connections {files_max};\n}}\n\
         stream {{\n    access_log off;\n    server {{\n        \
         listen {listen} backlog={BACKLOG} reuseport;\n        \
         proxy_pass {server};\n        proxy_timeout 1h;\n    }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        Ends {
            listen: "127.0.0.1:1000".parse().unwrap(),
            server: "127.0.0.1:2000".parse().unwrap(),
        }
    }

    const MACHINE: Machine = Machine {
        processors: 2,
        files_max: 20_000,
    };

    #[test]
    fn haproxy_is_given_what_the_files_allow() {
        let plain = haproxy(ends(), MACHINE, false);
        let splice = haproxy(ends(), MACHINE, true);
        assert!(plain.contains("    maxconn 9900\n") && !plain.contains("splice"));
        assert!(splice.contains("    maxconn 9836\n") && splice.contains("    maxpipes 64\n"));
        assert!(splice.contains("    option splice-response\n"));
        for text in [plain, splice] {
            assert!(text.contains("    bind 127.0.0.1:1000 "), "{text}");
            assert!(text.contains("    server bench 127.0.0.1:2000\n"));
            assert!(text.contains("    nbthread 2\n") && text.contains("    mode tcp\n"));
        }
    }

    #[test]
    fn nginx_loads_its_module_only_where_there_is_one() {
        let module = Path::new("/m/ngx_stream_module.so");
        let dynamic = nginx(ends(), MACHINE, Some(module), Path::new("/f"));
        let built_in = nginx(ends(), MACHINE, None, Path::new("/f"));
        assert!(dynamic.starts_with("load_module /m/ngx_stream_module.so;\n"));
        assert!(built_in.starts_with("daemon off;\n"));
        assert!(dynamic.ends_with(&built_in));
        assert!(
            built_in.contains("listen 127.0.0.1:1000 ") && built_in.contains("worker_processes 2;")
        );
        assert!(built_in.contains("proxy_pass 127.0.0.1:2000;"));
        assert!(built_in.contains("pid /f/nginx.pid;"));
    }
}
