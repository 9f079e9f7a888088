//! `photon pki`: the cloud's own certificate authority in one folder, and the tokens of its people.
//!
//! The folder has `ca.crt` and `ca.key`, `cluster` (the cloud's name), `<service>-<node>.crt` and `.key`,
//! `tokens.toml` (hashes, for the servers) and `<name>.token` (the secret, for its owner). Whatever is secret is
//! readable by its owner only. An authority that is there is never replaced: every certificate would be void.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use photon_runtime::{
    Identity, Token,
    auth::add_token,
    pki::{self, Issued, Leaf, Validity},
};

use crate::{failure::Misuse, output::line};

/// Verbs on the certificate authority.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a certificate authority, e.g. `photon pki init --dir pki --cluster photon`.
    Init(Init),
    /// Issue a service's certificate, e.g. `photon pki issue --dir pki --service flaredb --node 1 --address db1.example.org`.
    Issue(Issue),
    /// Make a person's token, e.g. `photon pki token --dir pki --name ada --role viewer`.
    Token(NewToken),
}

/// A certificate authority as it shall be.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The authority's folder; it is made.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The cloud's name, which every certificate carries.
    #[arg(long, value_name = "NAME", value_parser = name)]
    cluster: String,
    /// Days for which the authority counts.
    #[arg(long, default_value_t = 3_650, value_parser = clap::value_parser!(u32).range(1..=3_653))]
    days: u32,
}

/// A certificate as it shall be.
#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// The authority's folder.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The service, e.g. flaredb.
    #[arg(long, value_name = "NAME", value_parser = name)]
    service: String,
    /// The node inside the service, e.g. 1.
    #[arg(long, value_name = "NAME", value_parser = name)]
    node: String,
    /// A DNS name or IP address under which the process is reached; repeat it for each.
    #[arg(long = "address", value_name = "HOST", required = true)]
    addresses: Vec<String>,
    /// Days for which the certificate counts.
    #[arg(long, default_value_t = 825, value_parser = clap::value_parser!(u32).range(1..=3_653))]
    days: u32,
}

/// A token as it shall be.
#[derive(Debug, Args)]
pub(crate) struct NewToken {
    /// The authority's folder.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Whose token it is; the change log shows this name.
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: String,
    /// What its owner may do.
    #[arg(long, value_enum)]
    role: Role,
}

/// What a token's owner may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Everything that people do.
    Admin,
    /// Read everything, change nothing.
    Viewer,
}

impl From<Role> for photon_runtime::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Viewer => Self::Viewer,
        }
    }
}

/// Names end up in certificates and in names of files.
fn name(text: &str) -> Result<String, String> {
    match Identity::new("cluster", text, "node") {
        Ok(_) => Ok(text.to_owned()),
        Err(_not_an_identity) => Err("expected up to 63 letters, digits, '.', '_' and '-'".to_owned()),
    }
}

/// Carries out a verb on the certificate authority.
///
/// # Errors
/// When a file is there that must not be replaced, is missing, or cannot be written.
pub(crate) fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Init(init) => init.run(),
        Verb::Issue(issue) => issue.run(),
        Verb::Token(token) => token.run(),
    }
}

impl Init {
    fn run(self) -> Result<()> {
        let (cert, key) = (self.dir.join("ca.crt"), self.dir.join("ca.key"));
        if let Some(there) = [&cert, &key].into_iter().find(|file| file.exists()) {
            let there = there.display();
            return Err(Misuse(format!(
                "{there} is there already, and replacing it voids every certificate; choose another --dir"
            ))
            .into());
        }
        fs::create_dir_all(&self.dir).with_context(|| format!("{} cannot be made", self.dir.display()))?;
        let ca = pki::create_ca(&self.cluster, Validity::days(self.days)?)?;
        write_private(&key, &ca.key_pem)?;
        write_public(&self.dir.join("cluster"), &format!("{}\n", self.cluster))?;
        write_public(&cert, &ca.cert_pem)
    }
}

impl Issue {
    fn run(self) -> Result<()> {
        let ca = Issued {
            cert_pem: read_authority(&self.dir, "ca.crt")?,
            key_pem: read_authority(&self.dir, "ca.key")?,
        };
        let cluster = read_authority(&self.dir, "cluster")?;
        let (addresses, dns_names) = split(&self.addresses);
        let leaf = Leaf {
            identity: Identity::new(cluster.trim(), &self.service, &self.node)?,
            dns_names,
            addresses,
            validity: Validity::days(self.days)?,
        };
        let issued =
            pki::issue(&ca, &leaf).with_context(|| format!("no certificate for {}", leaf.identity))?;
        let file = |ending| self.dir.join(format!("{}-{}.{ending}", self.service, self.node));
        write_private(&file("key"), &issued.key_pem)?;
        write_public(&file("crt"), &issued.cert_pem)
    }
}

impl NewToken {
    fn run(self) -> Result<()> {
        let known = self.dir.join("tokens.toml");
        let text = match fs::read_to_string(&known) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("{} cannot be read", known.display()))?,
        };
        let token = Token::generate();
        let longer = add_token(&text, &self.name, &token, self.role.into())
            .map_err(|error| Misuse(format!("{}: {error}", known.display())))?;
        // The secret first: a hash whose token nobody has would be refused as taken the next time.
        write_private(&self.dir.join(format!("{}.token", self.name)), &format!("{}\n", token.expose()))?;
        write_private(&known, &longer)
    }
}

fn split(hosts: &[String]) -> (Vec<IpAddr>, Vec<String>) {
    let addresses = hosts.iter().filter_map(|host| host.parse().ok()).collect();
    let names = hosts.iter().filter(|host| host.parse::<IpAddr>().is_err()).cloned().collect();
    (addresses, names)
}

fn read_authority(dir: &Path, file: &str) -> Result<String> {
    let path = dir.join(file);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (dir, path) = (dir.display(), path.display());
            Err(Misuse(format!(
                "{path} is not there; make an authority: photon pki init --dir {dir} --cluster NAME"
            ))
            .into())
        }
        read => read.with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    pki::write_private(path, text.as_bytes())
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(line(&format!("wrote {}", path.display()))?)
}

fn write_public(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(line(&format!("wrote {}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart_into_addresses_and_names() {
        let hosts = ["127.0.0.1", "::1", "localhost", "db1.example.org"].map(str::to_owned);
        let (addresses, names) = split(&hosts);
        assert_eq!(addresses, ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(names, ["localhost", "db1.example.org"]);
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        for (text, accepted) in
            [("admin", true), ("db-1.a_b", true), ("../x", false), ("a/b", false), ("", false)]
        {
            assert_eq!(name(text).is_ok(), accepted, "{text}");
        }
    }
}
