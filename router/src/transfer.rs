//! The way of a login that waits in the configuration state and is then sent here once more.

use std::time::Duration;

use tokio::time::timeout;

use crate::addr::BackendAddr;
use crate::connection::Services;
use crate::error::ConnectionError;
use crate::hold::Hold;
use crate::hold::configuration::{Gone, Profile, Room, Screen};
use crate::host::undecorated;
use crate::login::{Guest, since_1970};
use crate::protocol::versions::Configuration;
use crate::routes::Route;
use crate::texts::Text;

impl Services {
    /// Holds the player in the configuration state until the server is ready, `limit` at most, and
    /// transfers to the address the client itself has connected to.
    ///
    /// # Errors
    /// Why the server is not ready; the player has been told.
    pub(crate) async fn transfer(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        ready: impl Future<Output = Result<BackendAddr, ConnectionError>> + Unpin,
        (limit, packets): (Duration, &'static Configuration),
    ) -> Result<(), ConnectionError> {
        hold.settle().await?;
        let handshake = &guest.login.handshake;
        let claimed = Profile {
            protocol: handshake.protocol,
            packets,
            name: &guest.login.player,
            uuid: guest.login.uuid.unwrap_or_default(),
        };
        let tick = guest.route.policy.tick;
        let mut room = Room::enter(hold.client(), claimed, tick).await?;
        let screen = |locale: Option<&str>| self.screen(guest.route, locale);
        let waiting = tokio::select! {
            held = room.until(timeout(limit, ready), screen) => match held {
                Ok(Ok(ready)) => ready.map(drop),
                Ok(Err(_)) => Err(ConnectionError::HeldTooLong(limit)),
                Err(Gone::Clicked) => Err(ConnectionError::LeaveClicked),
                Err(Gone::Left) => return Err(ConnectionError::ClientLeft),
            },
            () = self.stop.cancelled() => Err(ConnectionError::Stopping),
        };
        match waiting {
            Ok(()) => {
                let cookie = self.signer.sign(guest.bearer(), since_1970());
                let host = undecorated(&handshake.address);
                room.transfer(host, handshake.port, &cookie).await?;
                Ok(())
            }
            Err(error) => {
                room.hear_language().await;
                let message = self.message(Some(guest.route), &error, room.locale());
                if let Some(message) = message {
                    room.kick(&message.to_component()).await;
                }
                Err(ConnectionError::Told(Box::new(error)))
            }
        }
    }

    fn screen(&self, route: &Route, locale: Option<&str>) -> Screen {
        let text = |text| {
            let message = self.render(Some(route), text, locale, |_| {});
            message.to_component()
        };
        Screen {
            title: text(Text::DialogTitle),
            body: text(Text::DialogBody),
            leave: text(Text::DialogLeave),
        }
    }
}
