//! Compiles the protobuf files in pure Rust (no `protoc`) and writes their descriptors for gRPC reflection.
//!
//! etcd's API and ChainFire's own are two sets: what serves the one need not serve the other.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const ETCD: &[&str] =
    &["etcd/kv.proto", "etcd/auth.proto", "etcd/rpc.proto", "etcd/lock.proto", "etcd/election.proto"];
const OWN: &[&str] = &["chainfire/gossip.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    compile(ETCD, "descriptors.bin")?;
    compile(OWN, "own-descriptors.bin")
}

fn compile(files: &[&str], descriptors_file: &str) -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join(descriptors_file);
    fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    for file in files {
        println!("cargo:rerun-if-changed=proto/{file}");
    }
    Ok(())
}
