//! Users, roles and permissions.

use anyhow::{Result, ensure};

use super::{Ctl, printed, refused};

const ROOT: [&str; 2] = ["--user", "root:secret"];

/// While auth is on, nobody does what no role of theirs allows; afterwards everybody does everything again.
pub(super) fn users_do_what_their_roles_allow(ctl: &Ctl) -> Result<()> {
    ctl.run(&["user", "add", "root:secret"])?;
    ctl.run(&["role", "add", "root"])?;
    ctl.run(&["user", "grant-role", "root", "root"])?;
    ctl.run(&["user", "add", "ada:lovelace"])?;
    ctl.run(&["role", "add", "reader"])?;
    ctl.run(&["role", "grant-permission", "reader", "--prefix=true", "read", "/open/"])?;
    ctl.run(&["role", "grant-permission", "reader", "readwrite", "/hers"])?;
    ctl.run(&["user", "grant-role", "ada", "reader"])?;
    ctl.run(&["put", "/open/1", "x"])?;
    printed(&ctl.run(&["auth", "enable"])?, "Authentication Enabled\n")?;
    let allowed = while_it_is_on(ctl);
    printed(&ctl.run(&["auth", "disable", ROOT[0], ROOT[1]])?, "Authentication Disabled\n")?;
    allowed?;
    printed(&ctl.run(&["del", "/open/1"])?, "1\n")
}

fn while_it_is_on(ctl: &Ctl) -> Result<()> {
    let as_ada = |words: &[&str]| {
        let words: Vec<_> = words.iter().copied().chain(["--user", "ada:lovelace"]).collect();
        ctl.run(&words)
    };
    printed(&as_ada(&["get", "/open/1", "--print-value-only"])?, "x\n")?;
    printed(&as_ada(&["put", "/hers", "y"])?, "OK\n")?;
    refused(as_ada(&["put", "/open/1", "y"]), "permission denied")?;
    refused(as_ada(&["get", "/", "--prefix"]), "permission denied")?;
    refused(as_ada(&["role", "add", "more"]), "permission denied")?;
    refused(ctl.run(&["get", "/open/1"]), "user name is empty")?;
    refused(ctl.run(&["get", "/open/1", "--user", "ada:wrong"]), "authentication failed")?;
    let told = ctl.run(&["user", "get", "ada", "--detail", ROOT[0], ROOT[1]])?;
    ensure!(told.contains("reader") && told.contains("/hers"), "of the user it told {told:?}");
    printed(&ctl.run(&["del", "/hers", ROOT[0], ROOT[1]])?, "1\n")?;
    ctl.run(&["user", "delete", "ada", ROOT[0], ROOT[1]])?;
    refused(as_ada(&["get", "/open/1"]), "authentication failed")
}
