//! Gives a lease back: tells the server, and deletes the record. Best effort and within a second, as DHCPRELEASE is one
//! frame without an answer; a lease that was not given back runs out at the server by itself.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::handover::{self, Message};
use super::place::Place;
use super::record::Record;
use super::socket;
use crate::dhcp::client::drive::now;
use crate::dhcp::client::lease::Stage;
use crate::dhcp::client::release;
use crate::dhcp::socket::AsyncPacketSocket;
use crate::error::log::{Level, Log};
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::kernel::netns::Netns;
use crate::kernel::random::random_bytes;

/// Longest that all of it takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Gives the lease of a record back and deletes the record; what was wrong where the server was not told.
///
/// # Errors
/// What the file system says about the record, which stays then.
pub async fn give_back(place: &Place, record: &Record) -> io::Result<Option<String>> {
    let told = timeout(PATIENCE, tell(place, record)).await;
    Record::remove(place, &record.host)?;
    Ok(match told {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(_) => Some("it took too long".to_string()),
    })
}

/// The same, told in the log: nothing that goes wrong here keeps a pod.
pub async fn give_back_and_tell(place: &Place, record: &Record, log: &Log) {
    let address = record.lease.address;
    match give_back(place, record).await {
        Ok(None) => log.write(Level::Info, format_args!("released {address} to {}", record.lease.server)),
        Ok(Some(why)) => log.write(Level::Warn, format_args!("{address} was not released: {why}")),
        Err(error) => log.write(Level::Warn, format_args!("cannot delete a lease's record: {error}")),
    }
}

/// By the agent, which has a socket also where the namespace has no path any more; else from here.
async fn tell(place: &Place, record: &Record) -> Result<(), String> {
    if handover::send(place, &Message::Release { host: record.host.clone() }, None).await.is_ok() {
        return Ok(());
    }
    let netns = Netns::open(&record.netns).map_err(|error| error.msg().to_string())?;
    let identity = record.identity().ok_or("the record names no MAC")?;
    let through = async {
        let mut kernel = Linux::open(Some(netns))?;
        let socket = socket::open(&mut kernel, &record.ifname, identity.chaddr).await?;
        send(&socket, record).await
    };
    through.await.map_err(|refusal| refusal.to_string())
}

/// Sends the DHCPRELEASE through the lease's own socket, unless the lease is over: its address may be somebody else's then.
///
/// # Errors
/// What the kernel says.
pub async fn send(socket: &AsyncPacketSocket, record: &Record) -> Result<(), Refusal> {
    let Some(identity) = record.identity() else { return Ok(()) };
    if record.lease.times.stage(now()) == Stage::Expired {
        return Ok(());
    }
    let xid = u32::from_ne_bytes(random_bytes()?);
    if let Some(message) = release(&identity, &record.lease, xid) {
        socket.send(&message.frame(identity.chaddr)).await?;
    }
    Ok(())
}
