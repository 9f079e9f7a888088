//! Packets over TCP, each behind its length. A stream lives for half a second: what takes longer answers no probe.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
};

use crate::{frame::PACKET_BYTES_MAX, outbox::Packet};

/// How long a stream may take over everything.
const STREAM_TIMEOUT: Duration = Duration::from_millis(500);
/// Packets of a stream, at most: a probe or its answer, a challenge, and the same again.
const PACKETS_MAX: usize = 8;

/// A packet that came over a stream, and where its answers go.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) packet: Vec<u8>,
    pub(super) replies: oneshot::Sender<Vec<Vec<u8>>>,
}

/// Opens a stream for a packet.
pub(super) async fn dial(packet: Packet, deliver: mpsc::Sender<Delivery>) {
    match tokio::time::timeout(STREAM_TIMEOUT, TcpStream::connect(packet.to)).await {
        Ok(Ok(stream)) => converse(stream, Some(packet.bytes), deliver).await,
        Ok(Err(error)) => tracing::debug!(to = %packet.to, %error, "no gossip stream"),
        Err(_elapsed) => tracing::debug!(to = %packet.to, "no gossip stream in time"),
    }
}

/// Sends `first` and hands what comes in to the core, until either side has had enough.
pub(super) async fn converse(stream: TcpStream, first: Option<Vec<u8>>, deliver: mpsc::Sender<Delivery>) {
    match tokio::time::timeout(STREAM_TIMEOUT, talk(stream, first, deliver)).await {
        Ok(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
            tracing::debug!(%error, "a gossip stream broke");
        }
        // The other side closed, or the time is over: that is how streams end.
        _ => {}
    }
}

async fn talk(
    mut stream: TcpStream,
    first: Option<Vec<u8>>,
    deliver: mpsc::Sender<Delivery>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(packet) = first {
        write(&mut stream, &packet).await?;
    }
    for _ in 0..PACKETS_MAX {
        let packet = read(&mut stream).await?;
        let (replies, answered) = oneshot::channel();
        // Neither fails while the node runs.
        let Ok(()) = deliver.send(Delivery { packet, replies }).await else { break };
        for reply in answered.await.unwrap_or_default() {
            write(&mut stream, &reply).await?;
        }
    }
    Ok(())
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > PACKET_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a packet of {length} bytes")));
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}

async fn write(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), packet].concat();
    stream.write_all(&framed).await
}
