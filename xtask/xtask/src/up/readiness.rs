//! Asks a process whether it is ready, as an orchestrator would: `GET /readyz` on its loopback port.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Whether the process answers that it is ready.
pub(super) fn is_ready(port: u16) -> bool {
    ask(port).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// What it says of why it is not.
pub(super) fn reason(port: u16) -> String {
    match ask(port) {
        Ok(answer) => answer.split("\r\n\r\n").nth(1).unwrap_or(&answer).trim().to_owned(),
        Err(error) => format!("it does not answer ({error})"),
    }
}

fn ask(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
