//! Lets the program's own `getrandom` stand in for the C library's, also where it is looked up by name.

fn main() {
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=getrandom");
    println!("cargo:rerun-if-changed=build.rs");
}
