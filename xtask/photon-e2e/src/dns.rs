//! Asking DNS servers: by `dig`, as a person would, and by plain datagrams where there are many questions.

use std::{net::UdpSocket, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::process::where_it_is_from;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// The name, with its final dot.
    pub(crate) name: String,
    /// The type's number.
    pub(crate) rtype: u16,
}

impl Query {
    /// A question for records of the class IN.
    pub(crate) fn new(name: &str, rtype: u16) -> Self {
        Self { name: name.to_owned(), rtype }
    }

    /// The packet that asks it, without EDNS.
    pub(crate) fn packet(&self, id: u16) -> Vec<u8> {
        let mut packet = id.to_be_bytes().to_vec();
        packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in self.name.split('.').filter(|label| !label.is_empty()) {
            // Names in tests are made of labels far below the limit of 63 bytes.
            packet.push(u8::try_from(label.len()).unwrap_or(63));
            packet.extend_from_slice(label.as_bytes());
        }
        packet.push(0);
        packet.extend_from_slice(&self.rtype.to_be_bytes());
        packet.extend_from_slice(&[0, 1]);
        packet
    }
}

/// A socket that asks one server.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: UdpSocket,
    id: u16,
}

impl Asker {
    /// Asks the server on this loopback port and waits at most `timeout` for each answer.
    ///
    /// # Errors
    /// When no socket can be had.
    pub(crate) fn new(port: u16, timeout: Duration) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(timeout))?;
        socket.connect(("127.0.0.1", port))?;
        Ok(Self { socket, id: 0 })
    }

    /// The answer to one question.
    ///
    /// # Errors
    /// When none came in time, or one to another question.
    pub(crate) fn ask(&mut self, query: &Query) -> Result<Vec<u8>> {
        self.id = self.id.wrapping_add(1);
        self.socket.send(&query.packet(self.id))?;
        let mut answer = vec![0; 4096];
        let bytes = self.socket.recv(&mut answer).with_context(|| format!("no answer to {query:?}"))?;
        answer.truncate(bytes);
        ensure!(answer.get(..2) == Some(&self.id.to_be_bytes()), "the answer to {query:?} has another id");
        Ok(answer)
    }
}

/// What `dig +short` prints, sorted.
///
/// # Errors
/// When dig is not installed or got no answer within a second.
pub(crate) fn dig(port: u16, name: &str, rtype: &str) -> Result<Vec<String>> {
    let ran = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port.to_string(), "+short", "+norecurse", "+tries=1", "+time=1"])
        .args([name, rtype])
        .output()
        .with_context(|| format!("dig cannot be run{}", where_it_is_from("dig")))?;
    let text = String::from_utf8_lossy(&ran.stdout);
    ensure!(ran.status.success(), "dig got no answer to {name} {rtype}: {text}");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}
