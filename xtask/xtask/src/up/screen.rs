//! What a person sees once the cloud is there: where everything is, and what to type next.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use xtask::layout::Layout;

/// Prints the endpoints and three commands to try.
#[expect(clippy::print_stdout, reason = "the table is this command's result")]
pub(super) fn show(layout: &Layout, photon: &Path, took: Duration) {
    println!("{}", text(layout, &shortest(photon), took));
}

fn text(layout: &Layout, photon: &Path, took: Duration) -> String {
    let mut rows = vec![["PROCESS".to_owned(), "ENDPOINT".to_owned(), "METRICS AND HEALTH".to_owned()]];
    for process in layout.processes() {
        rows.push([
            process.name,
            process.endpoint,
            format!("http://127.0.0.1:{}/readyz", process.admin_port),
        ]);
    }
    let dns_port = layout.dns.map(|dns| dns.dns_port);
    if let Some(port) = dns_port {
        rows.push(["dns".to_owned(), format!("127.0.0.1:{port} (UDP and TCP)"), String::new()]);
    }
    let photon = photon.display();
    let mut lines = vec![format!("PhotonCloud is up after {:.1} s", took.as_secs_f64()), String::new()];
    lines.extend(aligned(&rows));
    lines.extend([String::new(), "Try:".to_owned()]);
    lines.push(format!("  {photon} dns zone create example.org"));
    lines.push(format!("  {photon} dns record create example.org www A 192.0.2.1"));
    if let Some(port) = dns_port {
        lines.push(format!("  dig @127.0.0.1 -p {port} www.example.org"));
    }
    lines.extend([
        String::new(),
        format!("Data: {}. Ctrl-C stops everything.", shortest(&layout.folder).display()),
    ]);
    lines.join("\n")
}

fn aligned(rows: &[[String; 3]]) -> impl Iterator<Item = String> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    rows.iter().map(move |[a, b, c]| format!("{a:first$}  {b:second$}  {c}").trim_end().to_owned())
}

/// The path as seen from the current folder, where it lies below it.
fn shortest(path: &Path) -> PathBuf {
    let below =
        std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::layout::{Database, Dns, Member};

    #[test]
    fn a_person_sees_every_endpoint_and_three_commands_to_try() {
        let layout = Layout {
            folder: "/cloud".into(),
            members: vec![Member { id: 1, port: 7401, admin_port: 7501, client_port: 2379 }],
            databases: vec![Database { id: 1, port: 7001, admin_port: 7101 }],
            key_ports: Vec::new(),
            dns: Some(Dns { port: 7201, admin_port: 7301, dns_port: 5300, workers: 0 }),
            services: Vec::new(),
        };
        let text = text(&layout, Path::new("photon"), Duration::from_millis(1234));
        for part in [
            "1.2 s",
            "https://127.0.0.1:2379",
            "https://127.0.0.1:7001",
            "https://127.0.0.1:7201",
            "dig @127.0.0.1 -p 5300",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("  ")).count(), 3);
    }
}
