//! One server as the manager keeps it: its life, its faults and its ports, brought into line.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::config::{Delays, GamePorts};
use crate::faults::{Faults, Manners, Struck};
use crate::outbox::Row;
use crate::port::GamePort;
use crate::server::{Life, Plan, State};
use crate::spec::ServerSpec;

/// What every server shares.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) delays: Delays,
    pub(crate) ports: GamePorts,
    pub(crate) players: Arc<Semaphore>,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) spec: ServerSpec,
    pub(crate) life: Life,
    pub(crate) faults: Option<Faults>,
    pub(crate) struck: Struck,
    /// Where its players go.
    port: Option<GamePort>,
    /// What the table holds for a lazy address; never opens.
    placeholder: Option<GamePort>,
    told: State,
    manners: watch::Sender<Manners>,
}

impl Entry {
    /// A stopped server; takes the ports it needs while at rest.
    pub(crate) fn new(
        name: &str,
        spec: ServerSpec,
        now: Instant,
        around: &Surroundings,
        taken: &BTreeSet<u16>,
    ) -> io::Result<Self> {
        let (mut port, mut placeholder) = (None, None);
        if spec.lazy_address {
            placeholder = Some(GamePort::hold(&around.ports, None, taken)?);
        } else if spec.listens() {
            port = Some(GamePort::hold(&around.ports, spec.port, taken)?);
        }
        Ok(Self {
            name: name.into(),
            spec,
            life: Life::new(now),
            faults: None,
            struck: Struck::default(),
            port,
            placeholder,
            told: State::Stopped,
            manners: watch::Sender::default(),
        })
    }

    /// The ports it has.
    pub(crate) fn taken(&self) -> impl Iterator<Item = u16> {
        let both = [&self.port, &self.placeholder];
        both.into_iter().flatten().map(GamePort::port)
    }

    /// It is up and has yet to get the port it has only while it is up.
    pub(crate) fn takes_port(&self) -> bool {
        self.spec.lazy_address && self.port.is_none() && !self.life.state().at_rest()
    }

    /// The faults that hold for it.
    pub(crate) fn faults<'a>(&'a self, of_all: &'a Faults) -> &'a Faults {
        self.faults.as_ref().unwrap_or(of_all)
    }

    pub(crate) fn plan(&self, of_all: &Faults, around: &Surroundings) -> Plan {
        let Delays { boot, stop, port } = around.delays;
        self.faults(of_all).spoil(Plan {
            boot: Some(self.spec.boot_delay.unwrap_or(boot)),
            stop: self.spec.stop_delay.unwrap_or(stop),
            port: Some(self.spec.port_delay.unwrap_or(port)),
            crash: None,
        })
    }

    /// Has its port behave as its faults ask for, from the next connection on.
    pub(crate) fn mind(&self, of_all: &Faults) {
        self.manners.send_replace(self.faults(of_all).manners());
    }

    /// Moves on to `now`, opens and closes ports, and tells whether the state changed.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        plan: &Plan,
        around: &Surroundings,
        taken: &BTreeSet<u16>,
    ) -> bool {
        self.life.advance(now, plan);
        if let Err(error) = self.settle_ports(now, plan, around, taken) {
            warn!(server = %self.name, %error, "no game port; the server crashes");
            self.life.crash(now);
            if let Some(port) = &mut self.port {
                port.close();
            }
        }
        let state = self.life.state();
        let changed = state != self.told;
        if changed {
            info!(server = %self.name, %state, "{} is {state}", self.name);
        }
        self.told = state;
        changed
    }

    fn settle_ports(
        &mut self,
        now: Instant,
        plan: &Plan,
        around: &Surroundings,
        taken: &BTreeSet<u16>,
    ) -> io::Result<()> {
        let lazy = self.spec.lazy_address && self.spec.listens();
        let awake = matches!(self.life.state(), State::Starting | State::Running);
        if lazy && awake && self.port.is_none() {
            self.port = Some(GamePort::hold(&around.ports, self.spec.port, taken)?);
        }
        if lazy && !awake {
            self.port = None;
        }
        let opens = self.life.port_opens(plan);
        match &mut self.port {
            Some(port) if opens.is_some_and(|at| at <= now) => {
                port.open(&self.name, &around.players, &self.manners)
            }
            Some(port) => {
                port.close();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// When time alone changes something next, at the state or at the port.
    pub(crate) fn due(&self, plan: &Plan) -> Option<Instant> {
        let unopened = self.port.as_ref().is_some_and(|port| !port.is_open());
        let opens = self.life.port_opens(plan).filter(|_| unopened);
        [self.life.due(plan), opens].into_iter().flatten().min()
    }

    /// The address its players use, if it is known by now.
    pub(crate) fn address(&self, ports: &GamePorts) -> Option<String> {
        let known = match self.life.state() {
            State::Running => true,
            State::Starting => !self.spec.lazy_address,
            State::Stopped | State::Stopping | State::Crashed => false,
        };
        let own = || Some(advertised(self.port.as_ref()?, ports));
        self.spec.address.clone().or_else(own).filter(|_| known)
    }

    /// The address the table holds for it, the same in every state.
    pub(crate) fn row_address(&self, ports: &GamePorts) -> String {
        match (&self.placeholder, &self.spec.address, &self.port) {
            (Some(port), _, _) | (None, None, Some(port)) => advertised(port, ports),
            (None, Some(address), _) => address.clone(),
            (None, None, None) => String::new(),
        }
    }

    /// What the table is to hold.
    pub(crate) fn row(&self, ports: &GamePorts) -> Row {
        Row {
            domain: self.spec.domain.clone(),
            address: self.row_address(ports),
            state: self.life.state().as_str(),
        }
    }
}

fn advertised(port: &GamePort, ports: &GamePorts) -> String {
    let number = port.port();
    match &ports.advertise_host {
        Some(host) => format!("{host}:{number}"),
        None if ports.bind.is_unspecified() => format!("127.0.0.1:{number}"),
        None => std::net::SocketAddr::new(ports.bind, number).to_string(),
    }
}
