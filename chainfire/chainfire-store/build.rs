//! Compiles the messages of the log and of the state in pure Rust (no `protoc`); etcd's own are those of
//! `chainfire-proto`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(["internal.proto"], ["proto", "../chainfire-proto/proto"])?;
    let mut builder = tonic_prost_build::configure().bytes(".");
    for package in ["authpb", "etcdserverpb", "mvccpb"] {
        builder = builder.extern_path(format!(".{package}"), format!("::chainfire_proto::{package}"));
    }
    builder.compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=../chainfire-proto/proto");
    Ok(())
}
